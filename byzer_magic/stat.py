"""Counters of a deployment, their history, and the eight fields that byzer-llm's `stat` prints."""

from __future__ import annotations

from typing import Any

import msgspec


class WorkerStat(msgspec.Struct, frozen=True):
    """One worker's counters at one moment."""

    index: int
    free: int
    limit: int
    requests: int
    errors: int
    idle_seconds: float
    """Seconds since a request was last sent to this worker, or since it started."""
    health: str = "up"
    """`up`, `loading`, `down` or `drained`."""
    pid: int = 0

    @property
    def busy(self) -> bool:
        """Return whether at least one slot is in use."""
        return self.free < self.limit


class ModelStat(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment at one moment."""

    model: str
    kind: str
    title: str = ""
    """The provider's name of the model, or that of its file."""
    strategy: str
    capabilities: list[str]
    workers: list[WorkerStat]
    concurrency: int
    queued: int = 0
    uptime_seconds: float = 0.0
    trouble: str = ""
    """Why no worker can answer, where the model could not be loaded again."""
    first_token_p50: float | None = None
    first_token_p99: float | None = None
    tokens_per_second: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """What the answers so far have cost, where the price of the model is known."""
    currency: str = ""

    @property
    def busy(self) -> int:
        """Return how many workers have a request."""
        return sum(worker.busy for worker in self.workers)

    @property
    def slots(self) -> int:
        """Return how many requests can run at once."""
        return len(self.workers) * self.concurrency

    @property
    def requests(self) -> int:
        """Return the requests dispatched so far, over all workers."""
        return sum(worker.requests for worker in self.workers)

    @property
    def errors(self) -> int:
        """Return the requests that failed so far, over all workers."""
        return sum(worker.errors for worker in self.workers)

    def legacy(self) -> dict[str, Any]:
        """Return byzer-llm's eight fields, with its names, order and types.

        `state` is each worker's number of free slots; `workers_last_work_time` is text such as
        ``"631.7133535240428s"``.
        """
        return {
            "total_workers": len(self.workers),
            "busy_workers": self.busy,
            "idle_workers": len(self.workers) - self.busy,
            "load_balance_strategy": self.strategy,
            "total_requests": [worker.requests for worker in self.workers],
            "state": [worker.free for worker in self.workers],
            "worker_max_concurrency": self.concurrency,
            "workers_last_work_time": [f"{worker.idle_seconds}s" for worker in self.workers],
        }


class Sample(msgspec.Struct, frozen=True):
    """What happened in one second."""

    at: float
    """Its end, as time.time() has it."""
    requests: int = 0
    """Requests that were sent to a worker."""
    errors: int = 0
    tokens: int = 0
    """Pieces of text that came; where a provider tells their number only at the end, they count then."""
    first_token: float | None = None
    """Mean seconds until the answers that began in it began."""
    latency: float | None = None
    """Mean seconds of the answers that ended in it."""
    busy: int = 0
    """Slots in use at its end."""
    queued: int = 0
    cost: float | None = None


class Delta(msgspec.Struct, frozen=True):
    """What has changed in a deployment since the one before."""

    head: ModelStat
    """Everything but the workers."""
    workers: list[WorkerStat]
    """Those that have changed."""
    gone: list[int] = []
    """Those that are no more."""


class Followed(msgspec.Struct, frozen=True):
    """A deployment as somebody who follows it knows it."""

    stat: ModelStat
    seen: float
    """Its last sign of life, as time.monotonic() has it."""


class Fleet(msgspec.Struct, frozen=True):
    """All deployments that are followed, at one moment."""

    models: dict[str, Followed]
    trouble: str = ""
    """Why there may be more than these, e.g. because no Ray answers."""


def delta(before: ModelStat | None, now: ModelStat) -> Delta:
    """Return what somebody who knows `before` must be told; idle time passes without anybody telling it."""
    known = {worker.index: worker for worker in before.workers} if before else {}
    changed = [worker for worker in now.workers if not _same(known.get(worker.index), worker)]
    gone = sorted(set(known) - {worker.index for worker in now.workers})
    return Delta(msgspec.structs.replace(now, workers=[]), changed, gone)


def merged(before: ModelStat | None, news: Delta, elapsed: float) -> ModelStat:
    """Return the deployment after `news`, which came `elapsed` seconds after what made `before`."""
    known = {worker.index: _later(worker, elapsed) for worker in before.workers} if before else {}
    known |= {worker.index: worker for worker in news.workers}
    workers = [worker for index, worker in sorted(known.items()) if index not in news.gone]
    return msgspec.structs.replace(news.head, workers=workers)


def _same(one: WorkerStat | None, other: WorkerStat) -> bool:
    """Return whether two say the same but for the time that has passed."""
    return one is not None and msgspec.structs.replace(one, idle_seconds=other.idle_seconds) == other


def _later(worker: WorkerStat, elapsed: float) -> WorkerStat:
    return msgspec.structs.replace(worker, idle_seconds=worker.idle_seconds + elapsed)

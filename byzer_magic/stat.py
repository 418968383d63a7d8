"""Counters of a deployment, and the eight fields that byzer-llm's `stat` prints."""

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
    """`up`, `loading` or `down`."""
    pid: int = 0

    @property
    def busy(self) -> bool:
        """Return whether at least one slot is in use."""
        return self.free < self.limit


class ModelStat(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment at one moment."""

    model: str
    kind: str
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

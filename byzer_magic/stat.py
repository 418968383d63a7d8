"""Counters of a deployment, their history, and the eight fields of byzer-llm's `stat`."""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Localizable, unpack_texts

FULL_SHARE = 0.85
"""Share of a CPU core from which a pool counts as full: what one process can do is nearly used up."""


class WorkerStat(msgspec.Struct, frozen=True):
    """One worker's counters at one moment."""

    index: int
    free: int
    """Free slots."""
    limit: int
    """Slots in all: requests that it may run at once."""
    requests: int
    """Requests dispatched to it so far."""
    errors: int
    """Of these, how many failed."""
    idle_seconds: float
    """Seconds since a request was last dispatched to this worker, or since it was added."""
    health: str = "up"
    """`up`, `loading`, `down`, `drained`, `asleep` (unloaded until a request comes), `failing` (left out for a while),
    `trying` (the next request shows whether it works again), or `hung` (killed, and being restarted)."""
    pid: int = 0
    """The process of an engine's worker; 0 for those of an API, which share that of the deployment."""
    node: str = ""
    """The address of the node of that process."""

    @property
    def busy(self) -> bool:
        """Return whether at least one slot is in use."""
        return self.free < self.limit


class ArmStat(msgspec.Struct, frozen=True):
    """The counters of one of the deployments to which a route sends its requests."""

    alias: str
    share: float | None = None
    """Of the requests, in a sum of 1; None where the first that can answers."""
    requests: int = 0
    """Requests sent to it so far."""
    errors: int = 0
    """Of these, how many failed."""
    skipped: int = 0
    """Requests that it was not asked: it was left out, is not there, or lacks what they need."""
    paused_seconds: float | None = None
    """Seconds until one request tries it again, 0 when that is due; None while it is not left out."""


class KeyStat(msgspec.Struct, frozen=True, kw_only=True):
    """One of several keys of a deployment at one moment; it is known by its place only."""

    place: int
    """Its place among the keys, from 1."""
    state: str
    """`up`, `limited` (it rests), `refused` (by the provider, or its credit is used up), or `failing`."""
    seconds: float = 0.0
    """Seconds until it is tried again."""
    why: Localizable = ""
    """The provider's error; empty while it is up."""
    requests: int = 0
    """Requests sent with it so far."""
    errors: int = 0
    """Of these, how many failed for a reason of the key or the provider."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "why")

    @property
    def text(self) -> str:
        """Return its state in words, as a lazy text.

        Example:
            >>> str(KeyStat(place=2, state="limited", seconds=12.4).text)
            'key 2: rate limit, 12 s left'
        """
        values = {"place": self.place, "seconds": self.seconds}
        if self.state == "limited":
            return _("key {place}: rate limit, {seconds:.0f} s left", **values)
        if self.state == "refused":
            return _("key {place}: refused, next try in {seconds:.0f} s", **values)
        if self.state == "failing":
            return _("key {place}: failing, next try in {seconds:.0f} s", **values)
        return _("key {place}: up", **values)


class OutcomeStat(msgspec.Struct, frozen=True):
    """How the requests of a deployment ended: those that are neither run nor wait in the queue."""

    admitted: int = 0
    """Requests that were let into the queue or to a worker, over all workers that there ever were."""
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    """Requests whose client went away, in the queue or later."""


class LimitStat(msgspec.Struct, frozen=True):
    """A limit of a deployment at one moment."""

    name: str
    """The option that sets it: `rpm`, `tpm`, `budget_usd` or `max_queue`."""
    used: float
    limit: float
    per: str
    """What the limit is for: `minute`, `day`, `deployment`, or nothing."""
    free_in: float | None = 0.0
    """Seconds until there is something left; 0 where there is, None where that does not come by itself."""


class ModelStat(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment's counters at one moment."""

    model: str
    """The alias."""
    kind: str
    """The backend's type, such as `saas/openai`."""
    title: str = ""
    """The provider's name of the model, or the name of its file."""
    strategy: str
    """The load balancing policy, a value of `--load_balance`."""
    placement: str = ""
    """A value of `--placement`; empty for Ray's own."""
    node: str = ""
    """The address of the node on which the deployment's own process runs."""
    capabilities: list[str]
    traits: list[str] = []
    """The manners of its API or engine, values of `Trait`."""
    workers: list[WorkerStat]
    concurrency: int
    """Slots of each worker."""
    arms: list[ArmStat] = []
    """Where a route sends its requests, in the order in which it asks; empty for other deployments."""
    queued: int = 0
    """Requests that wait for a slot."""
    past_requests: int = 0
    """Requests dispatched to workers that were removed since."""
    past_errors: int = 0
    """Of these, how many failed."""
    outcomes: OutcomeStat = OutcomeStat()
    uptime_seconds: float = 0.0
    error: Localizable = ""
    """Why the model could not be loaded; empty while it can."""
    note: Localizable = ""
    """Why the workers sleep, could not be woken, or what waking them waits for; empty while they are awake."""
    local: bool = False
    """Whether its model is loaded here, so that it can sleep."""
    waking: bool = False
    """Whether its model is to be loaded, or is being loaded."""
    min_workers: int = 0
    max_workers: int = 0
    """Between which numbers of workers it scales by itself; 0 for the most where it does not."""
    scaled: Localizable = ""
    """Why the number of workers has last changed by itself, or cannot grow."""
    ttft_p50: float | None = None
    """Time to first token in seconds: the median of the last responses that came in several pieces."""
    ttft_p99: float | None = None
    tokens_per_second: float | None = None
    """Mean rate after the first piece, of those."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """Cost of all responses so far, in `currency`; None where a price is unknown."""
    currency: str = ""
    pool_cpu: float | None = None
    """Share of one CPU core that the pool's process has used over the last seconds, 0 to 1; None while unknown."""
    keys: list[KeyStat] = []
    """The provider's keys, where there are several."""
    limits: list[LimitStat] = []
    """The limits that are set."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "error", "note", "scaled")

    @property
    def busy(self) -> int:
        """Return the number of workers with at least one request."""
        return sum(worker.busy for worker in self.workers)

    @property
    def nodes(self) -> list[str]:
        """Return the addresses of the nodes on which its workers run; those of an API run where the deployment does.

        Example:
            >>> hosts = ("10.0.0.1", "10.0.0.2", "10.0.0.1")
            >>> workers = [WorkerStat(index, 1, 1, 0, 0, 0.0, pid=9, node=host) for index, host in enumerate(hosts)]
            >>> ModelStat(model="m", kind="k", strategy="lru", capabilities=[], concurrency=1, workers=workers).nodes
            ['10.0.0.1', '10.0.0.2']
        """
        return sorted({worker.node or self.node for worker in self.workers} - {""})

    @property
    def is_asleep(self) -> bool:
        """Return whether no worker has the model loaded, until a request comes."""
        return bool(self.workers) and all(worker.health == "asleep" for worker in self.workers)

    @property
    def slots(self) -> int:
        """Return the number of requests that can run at once."""
        return len(self.workers) * self.concurrency

    @property
    def is_full(self) -> bool:
        """Return whether the pool's process fills its core, so that more slots bring no more requests per second.

        Example:
            >>> ModelStat(model="m", kind="saas/openai", strategy="lru", capabilities=[], concurrency=2, pool_cpu=0.97,
            ...           workers=[WorkerStat(0, free=0, limit=2, requests=3, errors=0, idle_seconds=0.0)]).is_full
            True
        """
        up = any(worker.health == "up" for worker in self.workers)  # loading fills a core for a while, too
        return up and self.pool_cpu is not None and self.pool_cpu >= FULL_SHARE

    @property
    def requests(self) -> int:
        """Return the requests dispatched so far, over all workers that there ever were."""
        return self.past_requests + sum(worker.requests for worker in self.workers)

    @property
    def errors(self) -> int:
        """Return the requests that failed so far, over all workers that there ever were."""
        return self.past_errors + sum(worker.errors for worker in self.workers)

    def legacy(self) -> dict[str, Any]:
        """Return byzer-llm's eight fields, with its names, order and types.

        `state` is each worker's number of free slots; `workers_last_work_time` is text such as
        ``"631.7133535240428s"``.

        Example:
            >>> stat = ModelStat(model="m", kind="saas/openai", strategy="lru", capabilities=[], concurrency=2,
            ...                  workers=[WorkerStat(0, free=1, limit=2, requests=3, errors=0, idle_seconds=0.5)])
            >>> stat.legacy()["state"], stat.legacy()["workers_last_work_time"]
            ([1], ['0.5s'])
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
    """Metrics of one second."""

    at: float
    """End of the second, as time.time()."""
    requests: int = 0
    """Requests dispatched."""
    errors: int = 0
    """Requests that failed."""
    tokens: int = 0
    """Chunks of text received; further tokens count when the provider reports their number, at the end."""
    ttft: float | None = None
    """Time to first token in seconds: the mean of the responses whose second piece arrived."""
    latency: float | None = None
    """Seconds that responses took: the mean of those that ended."""
    busy: int = 0
    """Slots in use at the end of the second."""
    queued: int = 0
    """Requests that waited for a slot at the end of the second."""
    cost: float | None = None
    pool_cpu: float | None = None
    """Share of one CPU core that the pool's process used, 0 to 1."""


class Delta(msgspec.Struct, frozen=True):
    """Changes of a deployment's counters since the previous delta."""

    head: ModelStat
    """All counters but those of the workers."""
    workers: list[WorkerStat]
    """The workers that are new or have changed."""
    gone: list[int] = []
    """Indices of the workers that were removed."""


class Followed(msgspec.Struct, frozen=True):
    """The latest known counters of a deployment."""

    stat: ModelStat
    seen: float
    """When its last delta arrived, as time.monotonic()."""


class Fleet(msgspec.Struct, frozen=True):
    """All deployments that are followed, at one moment."""

    models: dict[str, Followed]
    """By alias."""
    error: str = ""
    """Why the list may be incomplete, such as a Ray that does not answer; empty when it is complete."""


def delta(before: ModelStat | None, now: ModelStat) -> Delta:
    """Return the changes from `before` (None: from nothing) to `now`.

    A worker of which only the idle time has grown is unchanged: the receiver counts that itself, in `merged`.
    """
    known = {worker.index: worker for worker in before.workers} if before else {}
    changed = [worker for worker in now.workers if not _same(known.get(worker.index), worker)]
    gone = sorted(set(known) - {worker.index for worker in now.workers})
    return Delta(msgspec.structs.replace(now, workers=[]), changed, gone)


def merged(before: ModelStat | None, news: Delta, elapsed: float) -> ModelStat:
    """Apply a delta.

    Args:
        before: the counters after the previous delta; None for the first one.
        news: the delta.
        elapsed: seconds since the previous delta arrived.
    """
    known = {worker.index: _later(worker, elapsed) for worker in before.workers} if before else {}
    known |= {worker.index: worker for worker in news.workers}
    workers = [worker for index, worker in sorted(known.items()) if index not in news.gone]
    return msgspec.structs.replace(news.head, workers=workers)


def _same(one: WorkerStat | None, other: WorkerStat) -> bool:
    """Return whether two differ in nothing but their idle time."""
    return one is not None and msgspec.structs.replace(one, idle_seconds=other.idle_seconds) == other


def _later(worker: WorkerStat, elapsed: float) -> WorkerStat:
    return msgspec.structs.replace(worker, idle_seconds=worker.idle_seconds + elapsed)

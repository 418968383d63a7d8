"""What a deployment has to serve its requests with: workers, slots, queue and limits."""

from __future__ import annotations

import msgspec

from byzer_magic.routing.autoscale import Scaling


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how long requests wait for a slot; the fields are the options of `deploy`.

    Example:
        >>> now = Capacity(num_workers=2, worker_concurrency=4)
        >>> now.slots, now.changed(num_workers=8, worker_concurrency=None).slots
        (8, 32)
    """

    num_workers: int
    """Workers to begin with; without `min_workers` and `max_workers` all the time."""
    worker_concurrency: int = 1
    load_balance: str = "lru"
    max_queue: int = 10_000
    rpm: int = 0
    """Requests a minute; 0 for no limit."""
    min_workers: int | None = None
    max_workers: int | None = None
    idle: float | None = None
    """Seconds, as with `min_workers` and `max_workers` as it was given; None where it was not."""
    cpus_per_worker: float = 0.0
    gpus_per_worker: float = 0.0

    @property
    def slots(self) -> int:
        """Return the requests that run at once, with the workers to begin with."""
        return self.num_workers * self.worker_concurrency

    @property
    def scaling(self) -> Scaling:
        """Return between which numbers of workers it scales by itself."""
        return Scaling.of(self.num_workers, self.min_workers, self.max_workers, self.idle)

    def changed(self, **changes: float | str | None) -> Capacity:
        """Return it with other values; those that are None stay.

        A number of workers stays as it is given, unless limits for it are given, too.
        """
        given: dict[str, float | str | None] = {name: value for name, value in changes.items() if value is not None}
        if "num_workers" in given and not {"min_workers", "max_workers"} & given.keys():
            given |= {"min_workers": None, "max_workers": None}
        made = msgspec.structs.replace(self, **given)
        return msgspec.structs.replace(made, num_workers=made.scaling.within(made.num_workers))

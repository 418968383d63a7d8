"""Room for a model that is to be loaded: who sleeps for it, and until when it has to wait."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from byzer_magic.backends import registry
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ByzerError
from byzer_magic.local_models import files, hardware, memory
from byzer_magic.local_models.installed import file_formats

AWAKE_SECONDS = 5.0
"""How long a model that was loaded stays at least, whoever needs its room.

It stays as long as its load has taken, too: models that take turns spend at most half of their time on loading.
"""
TURN_SECONDS = 20.0
"""The same for one that is in use: then it finishes the requests that run, and the others have their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What a deployment takes, or what is short of it."""

    cpus: float = 0.0
    gpus: float = 0.0
    memory: float = 0.0
    """Bytes of the machine's memory."""

    def minus(self, other: Amount) -> Amount:
        """Return what is left of this, each part at least 0."""
        return Amount(
            cpus=_rest(self.cpus, other.cpus),
            gpus=_rest(self.gpus, other.gpus),
            memory=_rest(self.memory, other.memory),
        )

    def __bool__(self) -> bool:
        return any((self.cpus, self.gpus, self.memory))

    def shares_with(self, other: Amount) -> bool:
        """Return whether this has something of what the other one consists of."""
        return bool((self.cpus and other.cpus) or (self.gpus and other.gpus) or (self.memory and other.memory))


NOTHING = Amount()


def _rest(whole: float, part: float) -> float:
    return left if (left := whole - part) > 1e-9 else 0.0  # Ray's resources are floats: sums differ by rounding errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Awake:
    """A deployment that has its model loaded, and may make room for another."""

    alias: str
    takes: Amount
    """What it takes that would be free if it slept; nothing where it may not."""
    spare: Amount = NOTHING
    """What its workers take beyond the fewest that it is to have."""
    leaving: Amount = NOTHING
    """What will be free once workers that it has given up have finished their requests."""
    unused: float
    """Seconds since its last request came."""
    loaded: float = math.inf
    """Seconds since it was loaded, or workers were added."""
    took: float = 0.0
    """Seconds that this took."""
    busy: bool
    """Whether it runs requests, or has them in its queue."""

    @property
    def may_sleep(self) -> bool:
        """Return whether it has been there for long enough."""
        return self.loaded >= max(self.took, TURN_SECONDS if self.busy else AWAKE_SECONDS)

    @property
    def may_shrink(self) -> bool:
        """Return whether its spare workers have been there for long enough."""
        return self.loaded >= max(self.took, AWAKE_SECONDS)


@dataclass(frozen=True, slots=True)
class Steps:
    """What makes room: aliases of deployments; none of them where one has to wait."""

    sleep: Sequence[str] = ()
    shrink: Sequence[str] = ()
    """Those that give up the workers that they have spare."""


def steps(short: Amount, awake: Sequence[Awake], *, waits: bool = True) -> Steps | None:
    """Return who makes room, those first that were unused for longest.

    Those that nobody uses sleep first, then others give up spare workers; at last those sleep that are in use and had
    their turn.

    Args:
        short: what is short.
        awake: the deployments that may make room.
        waits: whether it is for a model that has to be loaded; for one more worker, nobody stops who is in use.

    Returns:
        None if all of them together would not free enough.

    Example:
        >>> small = Awake(alias="small", takes=Amount(cpus=1), unused=60, busy=False)
        >>> steps(Amount(cpus=1), [small]), steps(Amount(cpus=2), [small])
        (Steps(sleep=['small'], shrink=()), None)
    """
    ordered = sorted(awake, key=lambda one: -one.unused)
    if not (short := _short_after(short, [one.leaving for one in awake])):
        return Steps()
    if _short_after(short, [one.takes or one.spare for one in ordered]):
        return None
    may = [one for one in ordered if one.may_sleep]
    quiet = {one.alias: one.takes for one in may if not one.busy}
    if chosen := _enough(short, quiet):
        return Steps(sleep=chosen)
    if not waits:
        return Steps()
    if chosen := _enough(short, {one.alias: one.spare for one in ordered if one.may_shrink}):
        return Steps(shrink=chosen)
    return Steps(sleep=_enough(short, quiet | {one.alias: one.takes for one in may}))


def _enough(short: Amount, parts: Mapping[str, Amount]) -> list[str]:
    """Return the first of the deployments whose parts are enough, without those that are not needed for it."""
    chosen: dict[str, Amount] = {}
    for alias, part in parts.items():
        if not _short_after(short, chosen.values()):
            break
        if part.shares_with(short):
            chosen[alias] = part
    if _short_after(short, chosen.values()):
        return []
    for alias in list(chosen):  # a larger one that came later may do alone
        if not _short_after(short, (part for other, part in chosen.items() if other != alias)):
            del chosen[alias]
    return list(chosen)


def _short_after(short: Amount, freed: Iterable[Amount]) -> Amount:
    for part in freed:
        short = short.minus(part)
    return short


def amount(spec: DeploySpec) -> Amount:
    """Return what all workers of an engine's deployment take; its memory is 0 where that is on GPUs, or not known."""
    return Amount(
        cpus=spec.num_workers * spec.cpus_per_worker,
        gpus=spec.num_workers * spec.gpus_per_worker,
        memory=spec.num_workers * _memory(spec),
    )


def _memory(spec: DeploySpec) -> float:
    if not spec.model_path or spec.gpus_per_worker:
        return 0.0
    try:
        changed = Path(spec.model_path).stat().st_mtime_ns
    except OSError:
        return 0.0
    return _estimate(spec.model_path, changed, spec.infer_backend or "", tuple(spec.infer_params.items()))


@lru_cache(maxsize=256)
def _estimate(path: str, _changed: int, name: str, params: tuple[tuple[str, str], ...]) -> float:
    """Return the memory of one worker; kept, because models that wait for room are looked at twice a second."""
    engines = registry.engines()
    engine = engines.get(name)
    try:
        weights = files.inspect(path, file_formats(engines))
    except (ByzerError, OSError):
        return 0.0
    if engine is None:
        return 0.0
    context = dict(params).get(engine.facts.context_param or "", "")
    need = memory.estimate(
        weights, engine, hardware.detect().for_worker(0), int(context) if context.isdigit() else None
    )
    return float(need.takes)


def free_memory(awake: Iterable[Amount]) -> float:
    """Return the bytes of memory that one more model may take on this machine.

    Weights that are mapped from their file count as free to the system: it would read them again and again.

    Args:
        awake: what the loaded models take.
    """
    here = hardware.detect()
    return max(0.0, min(float(here.memory_free), here.memory_total - sum(one.memory for one in awake)))

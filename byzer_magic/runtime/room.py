"""Room for a model that is to be loaded: who sleeps for it, and until when it has to wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from byzer_magic.backends import registry
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ByzerError
from byzer_magic.local_models import files, hardware, memory
from byzer_magic.local_models.installed import file_formats

AWAKE_SECONDS = 5.0
"""How long a model that was loaded stays at least, whoever needs its room.

It stays as long as its load has taken, too: models that take turns spend at most half of their time on loading.
"""


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


def _rest(whole: float, part: float) -> float:
    return left if (left := whole - part) > 1e-9 else 0.0  # Ray's resources are floats: sums differ by rounding errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Awake:
    """A deployment that has its model loaded, and may sleep."""

    alias: str
    takes: Amount
    unused: float
    """Seconds since its last request came."""
    stays: float
    """Seconds for which it is not to sleep yet, because it was loaded a moment ago; 0 or less when it may."""
    busy: bool
    """Whether it runs requests, or has them in its queue."""


def to_sleep(short: Amount, awake: Iterable[Awake]) -> list[str] | None:
    """Return the deployments that are to sleep so that enough is free, those first that were unused for longest.

    Args:
        short: what is short.
        awake: the deployments that may sleep.

    Returns:
        Aliases; none of them where one has to wait first for those that are busy, or were loaded a moment ago. None if
        all of them would not free enough.

    Example:
        >>> small = Awake(alias="small", takes=Amount(cpus=1), unused=60, stays=0, busy=False)
        >>> to_sleep(Amount(cpus=1), [small]), to_sleep(Amount(cpus=2), [small])
        (['small'], None)
    """
    helpful = [one for one in awake if one.takes.shares_with(short)]
    if _short_after(short, helpful):
        return None
    may = sorted((one for one in helpful if not one.busy and one.stays <= 0), key=lambda one: -one.unused)
    chosen: list[Awake] = []
    for one in may:
        if not _short_after(short, chosen):
            break
        chosen.append(one)
    if _short_after(short, chosen):
        return []
    for one in list(chosen):  # a larger one that came later may do alone
        if not _short_after(short, rest := [other for other in chosen if other is not one]):
            chosen = rest
    return [one.alias for one in chosen]


def _short_after(short: Amount, asleep: Sequence[Awake]) -> Amount:
    for one in asleep:
        short = short.minus(one.takes)
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
    engines = registry.engines()
    engine = engines.get(spec.infer_backend or "")
    try:
        weights = files.inspect(spec.model_path, file_formats(engines))
    except (ByzerError, OSError):
        return 0.0
    if engine is None:
        return 0.0
    context = spec.infer_params.get(engine.facts.context_param or "", "")
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

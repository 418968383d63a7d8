"""Quantizations of GGUF models, which their files have in their names, and which of them fits a machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.local_models.memory import readable

_NAME = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_[A-Z0-9]+)*|BF16|FP?16|FP?32))(?=[-./]|$)", re.I
)
_PARTS = re.compile(r"-\d{5}-of-\d{5}$")
UNQUANTIZED = ("F16", "FP16", "BF16", "F32", "FP32")
"""They take twice to four times as much memory as Q8_0, whose answers are as good."""
BESIDE = 1.15
"""A model takes this much more memory than its file: the context's keys and values, and buffers."""
SHARE = 0.5
"""The part of the free memory that a model may take which nobody has chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One of a repository's GGUF models: a file, or all parts of a split one."""

    files: tuple[str, ...]
    size: int
    """Bytes in all."""

    @property
    def name(self) -> str:
        """Return its quantization, or else its file's name."""
        return quantization(self.files[0]) or self.files[0]

    @property
    def needs(self) -> int:
        """Return the bytes of memory that it takes, roughly."""
        return int(self.size * BESIDE)


def quantization(file: str) -> str:
    """Return the quantization in a file's name, in capitals; empty where it has none.

    Example:
        >>> quantization("Qwen3-8B-Q4_K_M.gguf"), quantization("q8_0/model-00001-of-00002.gguf"), quantization("a.gguf")
        ('Q4_K_M', 'Q8_0', '')
    """
    path = PurePosixPath(file)
    stem = _PARTS.sub("", path.stem)
    found = _NAME.findall(str(path.with_name(stem)))
    return found[-1].upper() if found else ""


def fitting(versions: Sequence[Version], free: int) -> tuple[Version | None, Text]:
    """Return the version to take where the user has named none, and why; None where none fits.

    It is the largest one, and so the best one, that leaves half of the free memory to others; where none does, the
    largest that fits at all. Versions that are not quantized are taken only where there are no others.

    Args:
        versions: of one repository.
        free: bytes of memory that are free for the model.

    Example:
        >>> small, large = Version(files=("a-Q4_0.gguf",), size=10**9), Version(files=("a-Q8_0.gguf",), size=2 * 10**9)
        >>> fitting([small, large], 10**10)[0].name, fitting([small, large], 3 * 10**9)[0].name
        ('Q8_0', 'Q4_0')
    """
    quantized = [one for one in versions if quantization(one.files[0]) not in UNQUANTIZED] or list(versions)
    by_size = sorted(quantized, key=lambda one: (one.size, one.files))
    for share, why in (
        (SHARE, _("it is the largest one that leaves half of the {free} of free memory unused", free=readable(free))),
        (1.0, _("it is the largest one that fits in the {free} of free memory", free=readable(free))),
    ):
        if found := [one for one in by_size if one.needs <= free * share]:
            return found[-1], why
    return None, _(
        "the smallest needs about {needed} of memory, but only {free} is free",
        needed=readable(by_size[0].needs), free=readable(free),
    )  # fmt: skip

"""Mix the channels of a recording to one, without those that would cancel each other.

A microphone cable with swapped poles, or a stereo widener, gives two channels of which one is the other with its sign
changed: added up they are silence. Each half second is looked at, as a recording may be so in parts only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

WINDOW_SECONDS = 0.5
FADE_SECONDS = 0.02
"""How long it takes to change over to other channels, without a click."""
CANCELS = 0.5
"""A channel cancels others when the sum has less than this part of the energy that it would have if they had nothing in
common: 3 dB."""
STILL_CANCELS = 0.7
"""A channel that has been left out comes back above that."""
PREFERRED = 2.0
"""A channel stays the one that is kept until another has this many times its energy."""
SILENCE = 0.001
"""The largest sample of a silent recording: -60 dBFS."""
LARGEST = 2.0**31
"""Samples beyond are no sound: floats that were integers of 32 bits still are."""


class Mixer:
    """Mixes channels as they arrive.

    Args:
        rate: samples per second (Hz).

    Example:
        >>> import numpy as np
        >>> voice = np.sin(np.arange(16_000)).astype("float32")
        >>> mixer = Mixer(16_000)
        >>> mixed = [*mixer.add(np.stack([voice, -voice])), *mixer.end()]
        >>> bool(np.allclose(np.concatenate(mixed), voice)), mixer.cancelled
        (True, True)
    """

    def __init__(self, rate: int) -> None:
        self._window = max(1, int(WINDOW_SECONDS * rate))
        self._fade = max(1, int(FADE_SECONDS * rate))
        self._waiting: list[Any] = []
        self._count = 0
        self._weights: Any = None
        self._loudest = self._mixed = 0.0
        self.cancelled = False
        """Whether channels have been left out."""

    @property
    def gain(self) -> float:
        """Return the factor that makes the mix as loud as the loudest channel was."""
        return max(1.0, math.sqrt(self._loudest / self._mixed)) if self._mixed else 1.0

    def add(self, channels: Any) -> Iterator[Any]:
        """Take samples, float (channels, n); yield the mix as far as it is known."""
        self._waiting.append(cleaned(channels))
        self._count += channels.shape[1]
        if self._count >= self._window:
            yield from self.end()

    def end(self) -> Iterator[Any]:
        """Yield the mix of what is left."""
        import numpy as np

        if not self._count:
            return
        block = np.concatenate(self._waiting, axis=1) if len(self._waiting) > 1 else self._waiting[0]
        self._waiting, self._count = [], 0
        yield block[0] if len(block) == 1 else self._mix(block)

    def _mix(self, block: Any) -> Any:
        import numpy as np

        before = self._weights if self._weights is not None and len(self._weights) == len(block) else None
        # Differences of neighbours: they leave out a constant offset, and nearly all of a hum.
        steps = np.diff(block.astype(np.float64), axis=1)
        products = steps @ steps.T
        weights = before if before is not None and not products.trace() else self._chosen(products, before)
        self._loudest += float(products.diagonal().max())
        self._mixed += float(weights @ products @ weights)
        self._weights = weights
        if before is None or np.array_equal(before, weights):
            return weights.astype(block.dtype) @ block
        share = np.minimum(np.arange(1, block.shape[1] + 1) / self._fade, 1.0)
        faded = before[:, None] * (1 - share) + weights[:, None] * share
        return (faded * block).sum(axis=0).astype(block.dtype)

    def _chosen(self, products: Any, before: Any) -> Any:
        """Return the weight of each channel: the loudest is kept, and each that does not cancel those before it."""
        import numpy as np

        if before is not None and self._still_fits(products, before > 0):
            return before
        kept: list[int] = []
        for number in np.argsort(-products.diagonal(), kind="stable"):
            if _share(products, kept, number) >= CANCELS:
                kept.append(int(number))
        self.cancelled |= len(kept) < len(products)
        weights = np.zeros(len(products))
        weights[kept] = 1 / len(kept)
        return weights

    def _still_fits(self, products: Any, kept: Any) -> bool:
        """Return whether to stay with channels, of which others were left out: a change could be heard."""
        energies = products.diagonal()
        if kept.all() or energies[kept].max() * PREFERRED < energies.max():
            return False
        inside = [number for number, is_kept in enumerate(kept) if is_kept]
        others = [number for number, is_kept in enumerate(kept) if not is_kept]
        whole = products[kept][:, kept].sum() >= CANCELS * energies[kept].sum()
        return bool(whole) and all(_share(products, inside, number) < STILL_CANCELS for number in others)


def _share(products: Any, kept: Any, number: int) -> float:
    """Return the energy of channels with one more, as a part of what it would be if the two had nothing in common."""
    import numpy as np

    apart = products[np.ix_(kept, kept)].sum() + products[number, number]
    return float(1 + 2 * products[number, kept].sum() / apart) if apart else 1.0


def cleaned(samples: Any) -> Any:
    """Return float samples in which NaN, infinity and absurdly large values are replaced by silence."""
    import numpy as np

    return np.where(np.abs(samples) <= LARGEST, samples, samples.dtype.type(0))  # a NaN is not <= anything


def is_silent(samples: Any) -> bool:
    """Return whether samples in -1..1 hold no sound, whatever their constant offset.

    Example:
        >>> import numpy as np
        >>> is_silent(np.full(100, 0.5)), is_silent(np.array([0.0, 0.1]))
        (True, False)
    """
    return not samples.size or float(samples.max() - samples.min()) < 2 * SILENCE

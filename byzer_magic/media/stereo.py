"""WAV files whose channels cancel each other, for providers that mix them."""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic.media import formats, mixing, wav
from byzer_magic.types import Media


def heard(media: Media) -> Media:
    """Return audio as a provider hears it whole: with the type of its bytes, and mono where channels would cancel.

    Other files than WAV keep their channels: to decode them takes packages that a provider does not need.

    Example:
        >>> heard(Media("audio/mpeg", b"RIFF0000WAVEfmt ")).mime
        'audio/wav'
    """
    mime = formats.typed(media.data, "audio", media.mime) or media.mime
    data = without_cancelling(media.data) if mime == "audio/wav" else media.data
    if mime == media.mime and data is media.data:
        return media
    return msgspec.structs.replace(media, mime=mime, data=data)


def without_cancelling(data: bytes) -> bytes:
    """Return a WAV file, as 16-bit mono if some of its channels would cancel each other when they are mixed."""
    found = wav.read(data)
    if found is None or found.channels == 1:
        return data
    import numpy as np

    mixer = mixing.Mixer(found.rate)
    parts = [part for block in _blocks(found) for part in mixer.add(block)] + list(mixer.end())
    if not mixer.cancelled:
        return data
    mono = np.concatenate(parts)
    mono *= 32767 / max(1.0, float(np.abs(mono).max()))
    return wav.write(mono.astype("<i2").tobytes(), found.rate)


def is_silent(data: bytes) -> bool:
    """Return whether this is a WAV file without any sound; other formats are not decoded for that.

    Example:
        >>> is_silent(wav.write(bytes(480), rate=24_000)), is_silent(b"ID3...")
        (True, False)
    """
    found = wav.read(data)
    return found is not None and all(mixing.is_silent(block) for block in _blocks(found))


def _blocks(found: wav.Wave) -> Any:
    """Yield the samples of each second, float (channels, n)."""
    import numpy as np

    frames = np.frombuffer(found.samples, found.samples.typecode)
    frames = frames[: len(frames) // found.channels * found.channels].reshape(-1, found.channels)
    for start in range(0, len(frames), found.rate):
        block = frames[start : start + found.rate].T.astype(np.float64) / found.full
        yield mixing.cleaned(block)

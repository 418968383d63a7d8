"""Sounds as models hear them: one channel of float samples at a model's rate, from any file format.

PyAV brings the decoders with it (https://pyav.basswood-io.com): no ffmpeg needs to be installed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from byzer_magic.errors import BadRequest
from byzer_magic.types import Media

RATE = 16_000
"""Samples per second that speech models listen at."""


def samples(sound: Media, rate: int = RATE) -> Any:
    """Return a sound as a numpy array of float32 in -1..1: one channel, `rate` samples per second.

    Raises:
        BadRequest: it cannot be decoded, or there is no sound in it.
    """
    import av
    import numpy as np

    try:
        parts = list(_decoded(sound.data, rate))
    except (av.FFmpegError, ValueError, IndexError) as err:
        raise BadRequest(
            f"The sound ({sound.mime}, {len(sound.data)} bytes) cannot be decoded: {err}.",
            "Give a whole WAV, MP3, M4A, FLAC, OGG, AAC or WebM.",
        ) from err
    found = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not found.size:
        raise BadRequest(f"There is no sound in it ({sound.mime}, {len(sound.data)} bytes).", "Record it again.")
    return found


def _decoded(data: bytes, rate: int) -> Iterator[Any]:
    import av

    with av.open(io.BytesIO(data), mode="r") as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in container.decode(container.streams.audio[0]):
            frame.pts = None  # files with gaps in their clock are heard as they come
            for part in resampler.resample(frame):
                yield part.to_ndarray()[0]
        for part in resampler.resample(None):
            yield part.to_ndarray()[0]

"""Sounds as models hear them: one channel of float samples at a model's rate, from any file format.

PyAV brings the decoders with it (https://pyav.basswood-io.com): no ffmpeg needs to be installed.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Media

RATE = 16_000
"""Samples per second that speech models listen at."""


def samples(sound: Media, rate: int = RATE, stopped: threading.Event | None = None) -> Any:
    """Return a sound as a numpy array of float32 in -1..1: one channel, `rate` samples per second.

    When `stopped` is set meanwhile, it is what was decoded until then.

    Raises:
        BadRequest: it cannot be decoded, or there is no sound in it.
    """
    import av
    import numpy as np

    try:
        parts = list(_decoded(sound.data, rate, stopped or threading.Event()))
    except (av.FFmpegError, ValueError) as err:
        raise BadRequest(
            _(
                "The audio ({mime}, {count_data} bytes) cannot be decoded: {getattr}.",
                mime=sound.mime,
                count_data=len(sound.data),
                getattr=getattr(err, "strerror", err),
            ),
            _("Send a complete WAV, MP3, M4A, FLAC, OGG, AAC or WebM file."),
        ) from err
    found = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not found.size and not (stopped and stopped.is_set()):
        raise BadRequest(
            _("The file has no audio ({mime}, {count_data} bytes).", mime=sound.mime, count_data=len(sound.data)),
            _("Record it again."),
        )
    found = np.nan_to_num(found, posinf=0.0, neginf=0.0)
    return found / max(1.0, float(np.abs(found).max(initial=0.0)))  # channels that say the same add up


def _decoded(data: bytes, rate: int, stopped: threading.Event) -> Iterator[Any]:
    """Yield the samples of the first sound in a file; packets that are damaged are left out, as players do."""
    import av

    with av.open(io.BytesIO(data), mode="r", metadata_errors="replace") as container:
        if not container.streams.audio:
            return
        mixer = _Mixer(rate)
        heard, fault = False, None
        for packet in container.demux(container.streams.audio[0]):
            if stopped.is_set():
                return
            try:
                frames = packet.decode()
            except av.InvalidDataError as err:
                fault = err
                continue
            for frame in frames:
                heard = True
                yield from mixer.add(frame)
        yield from mixer.end()
        if fault and not heard:
            raise fault


class _Mixer:
    """Makes one channel at one rate of frames, whose form may change on the way (chained OGG files)."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._form: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def add(self, frame: Any) -> Iterator[Any]:
        import av

        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self.end()
            self._form = form
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate)
        frame.pts = None  # files with gaps in their clock are heard as they come
        for part in self._resampler.resample(frame):
            yield part.to_ndarray()[0]

    def end(self) -> Iterator[Any]:
        for part in self._resampler.resample(None) if self._resampler else ():
            yield part.to_ndarray()[0]

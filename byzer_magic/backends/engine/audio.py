"""Decode audio for models: mono float32 samples at a model's rate, from any file format.

PyAV includes the decoders (https://pyav.basswood-io.com): ffmpeg is not needed.
"""

from __future__ import annotations

import importlib.util
import io
import threading
from collections.abc import Iterator
from typing import Any

from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import formats, mixing, wav
from byzer_magic.types import Localizable, Media

RATE = 16_000
"""Sample rate of speech models, in Hz."""
MAX_HOURS = 6.0
"""Longest audio that is decoded; it takes 1.4 GB."""


def samples(media: Media, rate: int = RATE, stopped: threading.Event | None = None) -> Any:
    """Return decoded audio: mono samples, as loud as the loudest channel.

    Channels are mixed, but for those that would cancel each other: of these the loudest is taken.

    Args:
        media: the file.
        rate: sample rate of the result, in Hz.
        stopped: ends the decoding when set; the result is then what was decoded so far.

    Returns:
        A numpy array, float32 (n,), in -1..1.

    Raises:
        BadRequest: it cannot be decoded, or has no audio.
    """
    return _mixed(media, mixing.Mixer(rate), rate, stopped or threading.Event())


def without_cancelling(media: Media) -> Media | None:
    """Return audio as a mono WAV file if some of its channels would cancel each other when they are mixed.

    Args:
        media: the file.

    Returns:
        None when all channels can be heard, the file cannot be decoded, or PyAV is not installed.
    """
    if importlib.util.find_spec("av") is None:
        return None
    mixer = mixing.Mixer(RATE)
    try:
        found = _mixed(media, mixer, RATE, threading.Event())
    except BadRequest:
        return None
    return Media("audio/wav", wav.write((found * 32767).astype("<i2").tobytes(), RATE)) if mixer.cancelled else None


def _mixed(media: Media, mixer: mixing.Mixer, rate: int, stopped: threading.Event) -> Any:
    import av
    import numpy as np

    data = _checked(media)
    try:
        blocks = _up_to(_decoded(data, rate, stopped), MAX_HOURS * 3600 * rate)
        parts = [part for block in blocks for part in mixer.add(block)] + list(mixer.end())
    except (av.FFmpegError, ValueError) as err:
        raise _undecodable(media, err) from err
    found = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not found.size and not stopped.is_set():
        raise BadRequest(_("The audio is empty (0 s)."), _RECORD)
    found *= mixer.gain
    return found / max(1.0, float(np.abs(found).max(initial=0.0)))


def silence_note(found: Any) -> dict[str, Any]:
    """Return what a transcript's `raw` says of samples that hold no sound.

    Example:
        >>> import numpy as np
        >>> silence_note(np.zeros(100)), silence_note(np.sin(np.arange(100)))
        ({'silent': True}, {})
    """
    return {"silent": True} if mixing.is_silent(found) else {}


_RECORD = _("Record it again.")
_SEND = _("Send a complete WAV, MP3, M4A, FLAC, OGG, AAC or WebM file.")


def _checked(media: Media) -> bytes:
    """Return the bytes to decode: a WAV file with its true length.

    Raises:
        BadRequest: they are no audio.
    """
    kind = formats.mime_of(media.data) or ""
    if kind in formats.OTHERS and kind.partition("/")[0] != "video":
        raise BadRequest(_("The audio cannot be decoded: it is {what}.", what=formats.described(kind)), _SEND)
    if kind.startswith("image/"):
        raise BadRequest(_("The file has no audio: it is {what}.", what=formats.described(kind)), _SEND)
    if reason := wav.fault(media.data):
        raise BadRequest(reason, _RECORD)
    data, _mime = wav.playable(media.data, media.mime) if not kind else (media.data, kind)
    return wav.with_length(data)


def _up_to(blocks: Iterator[Any], count: float) -> Iterator[Any]:
    """Yield blocks of samples.

    Raises:
        BadRequest: they are more than `count`: a small file may hold days of silence.
    """
    for block in blocks:
        count -= block.shape[1]
        if count < 0:
            raise BadRequest(_("The audio is longer than {hours:g} h.", hours=MAX_HOURS), _("Split it into parts."))
        yield block


def _undecodable(media: Media, err: Exception) -> BadRequest:
    reason: Localizable = getattr(err, "strerror", None) or str(err)
    message = _("The audio ({mime}, {count_data} bytes) cannot be decoded: {reason}.", mime=media.mime,
                count_data=len(media.data), reason=reason)  # fmt: skip
    return BadRequest(message, _SEND)


def _decoded(data: bytes, rate: int, stopped: threading.Event) -> Iterator[Any]:
    """Yield the samples of the first audio stream, float (channels, n); damaged packets are skipped, as players do."""
    import av

    with av.open(io.BytesIO(data), mode="r", metadata_errors="replace") as container:
        if not container.streams.audio:
            raise BadRequest(_("The file has no audio, only other streams."), _SEND)
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise BadRequest(_("The audio has an encoding that PyAV cannot decode."), _SEND)
        resampler = _Resampler(rate, exact=not stream.codec_context.name.startswith("pcm_f"))
        any_decoded, fault = False, None
        for packet in container.demux(stream):
            if stopped.is_set():
                return
            try:
                frames = packet.decode()
            except av.InvalidDataError as err:
                fault = err
                continue
            for frame in frames:
                any_decoded = True
                yield from resampler.add(frame)
        yield from resampler.end()
        if fault and not any_decoded:
            raise fault


class _Resampler:
    """Resamples frames; their format may change within a file (chained OGG files).

    Args:
        rate: samples per second (Hz) of the result.
        exact: whether all samples are numbers. Files of floats may have others, which would spoil their neighbours.
    """

    def __init__(self, rate: int, *, exact: bool) -> None:
        self._rate = rate
        self._exact = exact
        self._form: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def add(self, frame: Any) -> Iterator[Any]:
        import av

        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self.end()
            self._form = form
            self._resampler = av.AudioResampler(format="flt", layout=frame.layout.name, rate=self._rate)
        frame = frame if self._exact else _cleaned(frame)
        frame.pts = None  # gaps in the timestamps are ignored
        for part in self._resampler.resample(frame):
            yield _channels(part)

    def end(self) -> Iterator[Any]:
        for part in self._resampler.resample(None) if self._resampler else ():
            yield _channels(part)


def _channels(frame: Any) -> Any:
    """Return interleaved samples as (channels, n). Of planar ones PyAV 18 reads eight channels and crashes."""
    return frame.to_ndarray()[0].reshape(-1, frame.layout.nb_channels).T


def _cleaned(frame: Any) -> Any:
    """Return a frame of floats in which NaN and infinity are replaced by silence."""
    import av

    found = av.AudioFrame.from_ndarray(
        mixing.cleaned(frame.to_ndarray()), format=frame.format.name, layout=frame.layout.name
    )
    found.sample_rate = frame.sample_rate
    return found

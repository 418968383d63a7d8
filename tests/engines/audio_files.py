"""Audio for the tests: files of any format, made by PyAV, and the word error rate of a transcript."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from byzer_magic.types import Media

FILES = {
    "wav": ("wav", "pcm_s16le", "audio/wav"),
    "wav-u8": ("wav", "pcm_u8", "audio/wav"),
    "wav-float": ("wav", "pcm_f32le", "audio/wav"),
    "wav-24": ("wav", "pcm_s24le", "audio/wav"),
    "wav-32": ("wav", "pcm_s32le", "audio/wav"),
    "wav-double": ("wav", "pcm_f64le", "audio/wav"),
    "wav-alaw": ("wav", "pcm_alaw", "audio/wav"),
    "wav-mulaw": ("wav", "pcm_mulaw", "audio/wav"),
    "wav-adpcm": ("wav", "adpcm_ms", "audio/wav"),
    "wav-ima": ("wav", "adpcm_ima_wav", "audio/wav"),
    "aiff": ("aiff", "pcm_s16be", "audio/aiff"),
    "au": ("au", "pcm_s16be", "audio/x-au"),
    "caf": ("caf", "pcm_s16le", "audio/x-caf"),
    "wma": ("asf", "wmav2", "audio/x-ms-wma"),
    "mka": ("matroska", "libmp3lame", "audio/webm"),
    "mov": ("mov", "aac", "audio/mp4"),
    "mp3": ("mp3", "libmp3lame", "audio/mpeg"),
    "m4a": ("mp4", "aac", "audio/mp4"),
    "aac": ("adts", "aac", "audio/aac"),
    "flac": ("flac", "flac", "audio/flac"),
    "ogg": ("ogg", "libopus", "audio/ogg"),
    "webm": ("webm", "libopus", "audio/webm"),
}
"""Container, codec and media type of each format."""


def made(
    form: str, samples: Any, rate: int, *, channels: int = 1, source_rate: int = 16_000, gains: Sequence[float] = ()
) -> Media:
    """Return float samples as a file of that format, rate and number of channels, each with a gain."""
    import av

    container, codec, mime = FILES[form]
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as file:
        stream = file.add_stream(codec, rate, layout={1: "mono", 2: "stereo", 6: "5.1"}[channels])
        if codec == "wmav2":  # it has no default
            stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(
            np.outer(gains or [1] * channels, samples).astype("<f4"), format="fltp", layout=stream.layout.name
        )
        frame.sample_rate = source_rate
        resampler = av.AudioResampler(stream.format.name, stream.layout.name, rate, stream.frame_size or None)
        done = 0
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            part.pts, part.time_base = done, Fraction(1, rate)  # the resampler's own are rounded
            done += part.samples
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return Media(mime, sink.getvalue())


def words(text: str) -> list[str]:
    """Return the words alone, in small letters."""
    return re.findall(r"[a-z0-9']+", text.lower())


def word_error_rate(reference: str, transcript: str) -> float:
    """Return the number of words to substitute, insert or delete, per word of the reference."""
    expected, found = words(reference), words(transcript)
    line = list(range(len(found) + 1))
    for row, word in enumerate(expected, 1):
        before, line[0] = line[0], row
        for column, other in enumerate(found, 1):
            before, line[column] = line[column], min(line[column] + 1, line[column - 1] + 1, before + (word != other))
    return line[-1] / len(expected)

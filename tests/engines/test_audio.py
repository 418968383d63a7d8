"""Audio of every format is decoded to samples, as speech models require."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import threading
import wave
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings, strategies as st

from byzer_magic.backends.engine import audio, audio_encoder
from byzer_magic.errors import BadRequest
from byzer_magic.media import mime_of, wav
from byzer_magic.types import Media
from tests.engines.audio_files import FILES, made

pytestmark = pytest.mark.engine

SECONDS = 1.5


def sweep(rate: int = audio.RATE) -> np.ndarray:
    """A tone that rises from 200 to 1,000 Hz: its frequency identifies each moment."""
    time = np.arange(int(SECONDS * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 + 400 * time / SECONDS) * time)).astype(np.float32)


def likeness(found: np.ndarray, wanted: np.ndarray) -> float:
    """The similarity of two clips, 1 for equal ones, however late one begins (codecs add a little at the start)."""
    size = 1 << (len(found) + len(wanted)).bit_length()
    product = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(wanted, size)))
    return float(product.max() / (np.linalg.norm(found) * np.linalg.norm(wanted)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_samples_decode_every_format(form: str, rate: int, channels: int) -> None:
    clip = made(form, sweep(), rate, channels=channels)
    assert mime_of(clip.data) == mime_of(clip.data[:16]) == clip.mime
    found = audio.samples(Media("audio/mpeg", clip.data, name="talk.mp3"))
    assert found.dtype == np.float32
    assert found.ndim == 1
    assert abs(len(found) / audio.RATE - SECONDS) < 0.15
    assert likeness(found, sweep()) > 0.98


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_samples_resample_every_rate(rate: int) -> None:
    found = audio.samples(made("wav", sweep(), rate))
    assert abs(len(found) - SECONDS * audio.RATE) < 50
    assert likeness(found, sweep()) > 0.99
    assert len(audio.samples(made("wav", sweep(), rate), rate=8_000)) == pytest.approx(SECONDS * 8_000, abs=50)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 8, 16])
def test_samples_mix_any_number_of_channels(channels: int) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, audio.RATE, 0, "NONE", ""))
        writer.writeframes(np.repeat((sweep() * 32767).astype("<i2")[:, None], channels, 1).tobytes())
    found = audio.samples(Media("audio/wav", file.getvalue()))
    assert likeness(found, sweep()) > 0.99
    assert 0.4 < np.abs(found).max() <= 1.0


def test_samples_mix_one_sided_audio() -> None:
    left = np.stack([sweep(), np.zeros_like(sweep())], 1)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, audio.RATE, 0, "NONE", ""))
        writer.writeframes((left * 32767).astype("<i2").tobytes())
    assert likeness(audio.samples(Media("audio/wav", file.getvalue())), sweep()) > 0.99


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("form", ["FLOAT", "DOUBLE"])
def test_samples_replace_what_is_no_number_with_silence(rate: int, form: str) -> None:
    values = sweep(rate).astype(float)
    values[1000:1100] = np.nan
    values[2000] = np.inf
    values[3000] = -1e30
    found = audio.samples(file_of(values, rate, form))
    assert np.isfinite(found).all()
    assert likeness(found, sweep()) > 0.98
    assert np.abs(found).max() > 0.4


def test_samples_of_loud_floats_are_scaled() -> None:
    for loud in (2, 32768, 2.0**31):
        found = audio.samples(file_of(sweep() * loud, audio.RATE, "FLOAT"))
        assert np.allclose(found, sweep() / sweep().max(), atol=1e-3)


def file_of(samples: Any, rate: int, form: str = "PCM_16", container: str = "WAV") -> Media:
    """Return samples (n,) or (n, channels) as a file that another package has written."""
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate, format=container, subtype=form)
    return Media("audio/wav", sink.getvalue())


def turned(*gains: float, offset: float = 0.0) -> Any:
    """Return the sweep in channels of these gains."""
    return np.stack([gain * sweep() for gain in gains], 1) + offset


@pytest.mark.parametrize("form", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"])
@pytest.mark.parametrize(
    "gains", [(1, -1), (-1, 1), (0.5, -1), (1, -0.9), (1, -1, 1), (0, 1, -1, 0), (1, -1, 0.5, -0.5, 0, 0)]
)
def test_samples_of_channels_that_cancel_are_those_of_the_loudest(form: str, gains: tuple[float, ...]) -> None:
    found = audio.samples(file_of(turned(*gains), audio.RATE, form))
    assert likeness(found, sweep()) > 0.99 or likeness(-found, sweep()) > 0.99
    assert np.abs(found).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("form", ["wav", "m4a", "flac", "ogg", "webm", "mp3", "wav-adpcm"])
def test_samples_of_channels_that_cancel_in_any_format(form: str) -> None:
    clip = made(form, sweep(), 48_000, channels=2, gains=(1, -1))
    found = audio.samples(clip)
    assert likeness(found, sweep()) > 0.97 or likeness(-found, sweep()) > 0.97


def test_samples_of_channels_that_cancel_beside_an_offset() -> None:
    found = audio.samples(file_of(turned(1, -1, offset=0.3), audio.RATE))
    steps = np.diff(found)
    assert max(likeness(steps, np.diff(sweep())), likeness(-steps, np.diff(sweep()))) > 0.99


def test_samples_decode_vorbis() -> None:
    assert likeness(audio.samples(file_of(sweep(), audio.RATE, "VORBIS", "OGG")), sweep()) > 0.98


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"]),
    container=st.sampled_from(["WAV", "WAVEX", "RF64"]),
    channels=st.integers(1, 8),
    frames=st.integers(1, 3000),
    length=st.sampled_from([None, 0, 0xFFFFFFFF, 0x7FFFFFFF, "half"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_samples_are_those_that_another_package_reads(
    form: str, container: str, channels: int, frames: int, length: int | str | None, seed: int
) -> None:
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, frames)
    clip = file_of(np.repeat(values[:, None], channels, 1), audio.RATE, form, container)
    expected = soundfile.read(io.BytesIO(clip.data), always_2d=True)[0][:, 0]
    data = bytearray(clip.data)
    at = clip.data.index(b"data")
    stated = (len(data) - at - 8) // 4 if length == "half" else length
    if stated is not None and container != "RF64":
        struct.pack_into("<I", data, at + 4, int(stated))
    found = audio.samples(Media("audio/wav", bytes(data)))
    extra = len(found) - len(expected)  # a byte of padding may be a sample
    assert extra in (0, 1)
    assert np.allclose(found[: len(expected)], expected, atol=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(FILES)), st.data())
def test_samples_of_damaged_files_raise_nothing_but_bad_request(form: str, data: st.DataObject) -> None:
    file = bytearray(damaged(form).data)
    cut = data.draw(st.integers(0, len(file)), "cut")
    for at in data.draw(st.lists(st.integers(0, min(len(file), 200) - 1), max_size=8), "places"):
        file[at] = data.draw(st.integers(0, 255), "byte")
    with contextlib.suppress(BadRequest):
        found = audio.samples(Media("audio/wav", bytes(file[:cut])))
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 1


@functools.cache
def damaged(form: str) -> Media:
    return made(form, sweep()[:4000], 16_000)


@pytest.mark.parametrize("mime", ["audio/pcm", "audio/pcm;rate=16000", "audio/l16;rate=16000"])
def test_samples_of_raw_pcm_have_the_rate_of_the_type(mime: str) -> None:
    rate = 16_000 if "rate" in mime else 24_000
    found = audio.samples(Media(mime, (sweep(rate) * 32767).astype("<i2").tobytes()))
    assert likeness(found, sweep()) > 0.99
    assert len(found) / audio.RATE == pytest.approx(SECONDS, abs=0.01)


def test_silence_note_tells_silence_from_sound() -> None:
    assert audio.silence_note(audio.samples(file_of(np.zeros(1600), audio.RATE))) == {"silent": True}
    assert audio.silence_note(audio.samples(file_of(np.full(1600, np.nan), audio.RATE, "FLOAT"))) == {"silent": True}
    assert not audio.silence_note(sweep())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be decoded"),
        (b"\1\2 nothing that is known", "cannot be decoded: Invalid data"),
        (b"no audio, only words", "cannot be decoded: it is text."),
        (b"<!doctype html><p>404", "cannot be decoded: it is an HTML page."),
        (b'{"error": "expired"}', "cannot be decoded: it is JSON."),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), r"The file has no audio: it is an image \(PNG\)."),
        (wav.write(b"", 16_000), r"The audio is empty \(0 s\)."),
        (wav.stream_header(16_000), r"The audio is empty \(0 s\)."),
        (wav.write(b"\1\0", 1)[:24] + bytes(4) + wav.write(b"\1\0", 1)[28:], "1 channels at 0 Hz"),
    ],
)
def test_samples_refuse_what_is_not_audio(data: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        audio.samples(Media("audio/wav", data))
    assert "Errno" not in caught.value.message


@pytest.mark.parametrize("form", ["wav", "mp3", "ogg", "flac"])
def test_samples_of_a_truncated_file_are_those_before_its_end(form: str) -> None:
    complete = made(form, sweep(), 16_000)
    found = audio.samples(Media(complete.mime, complete.data[: len(complete.data) * 2 // 3]))
    assert 0.3 * SECONDS < len(found) / audio.RATE < 0.9 * SECONDS


def test_samples_skip_damaged_packets() -> None:
    complete = bytearray(made("mp3", np.tile(sweep(), 4), 16_000).data)
    complete[len(complete) // 2 : len(complete) // 2 + 400] = bytes(range(200)) * 2
    assert len(audio.samples(Media("audio/mpeg", bytes(complete)))) > 3.5 * SECONDS * audio.RATE


def test_samples_of_chained_files_may_change_format() -> None:
    chain = made("mp3", sweep(), 16_000).data + made("mp3", sweep(), 44_100, channels=2).data
    assert len(audio.samples(Media("audio/mpeg", chain))) / audio.RATE == pytest.approx(2 * SECONDS, abs=0.2)


def test_samples_stop_when_the_event_is_set() -> None:
    stopped = threading.Event()
    stopped.set()
    assert not len(audio.samples(made("wav", sweep(), 16_000), stopped=stopped))


@pytest.mark.parametrize("form", [form for form in audio_encoder.MIMES if form != "pcm"])
def test_encoder_writes_one_file_in_parts(form: str) -> None:
    writer = audio_encoder.writer(form, 22_050)
    data = (sweep(22_050) * 32767).astype("<i2").tobytes()
    parts = [writer.add(data[at : at + 11_000]) for at in range(0, len(data), 11_000)]
    file = b"".join([*parts, writer.end()])
    assert any(parts) == (form not in audio_encoder.BUFFERED)
    found = audio.samples(Media(audio_encoder.MIMES[form], file))
    assert likeness(found, sweep()) > 0.98
    assert len(found) / audio.RATE == pytest.approx(SECONDS, abs=0.15)


def test_encoder_writes_pcm_at_24_khz() -> None:
    writer = audio_encoder.writer("pcm", 22_050)
    file = writer.add((sweep(22_050) * 32767).astype("<i2").tobytes()) + writer.end()
    assert len(file) / 2 / audio_encoder.PCM_RATE == pytest.approx(SECONDS, abs=0.01)


def test_wav_gets_its_length_when_it_is_complete() -> None:
    writer = audio_encoder.writer("wav", 8_000)
    sent = writer.add(b"\1\0" * 100) + writer.add(b"\2\0" * 100) + writer.end()
    assert struct.unpack_from("<I", sent, 40) == (0xFFFFFFFF,)
    with wave.open(io.BytesIO(wav.with_length(sent))) as file:
        assert (file.getnframes(), file.getframerate()) == (200, 8_000)
    assert struct.unpack_from("<I", wav.with_length(sent), 4) == (len(sent) - 8,)
    assert wav.with_length(wav.with_length(sent)) == wav.with_length(sent)
    for other in (b"", b"ID3", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt "):
        assert wav.with_length(other) == other


def test_audio_that_decodes_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_HOURS", 1 / 3600)
    two_seconds = Media("audio/wav", wav.write(bytes(2 * 2 * audio.RATE), audio.RATE))
    with pytest.raises(BadRequest, match="The audio is longer than"):
        audio.samples(two_seconds)

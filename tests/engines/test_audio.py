"""Audio of every format is decoded to samples, as speech models require."""

from __future__ import annotations

import io
import struct
import threading
import wave

import numpy as np
import pytest

from byzer_magic.backends.engine import audio, audio_encoder
from byzer_magic.errors import BadRequest
from byzer_magic.media import wav
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
    found = audio.samples(clip)
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


def test_samples_replace_nan_with_silence() -> None:
    values = sweep()
    values[1000:1100] = np.nan
    values[2000] = np.inf
    found = audio.samples(made("wav-float", values, audio.RATE))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be decoded"),
        (b"no audio, only words", "cannot be decoded: Invalid data"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "The file has no audio"),
        (wav.write(b"", 16_000), "The file has no audio"),
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

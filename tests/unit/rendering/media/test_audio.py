"""Audio in a cell."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st

from byzer_magic.media import wav as wav_file
from byzer_magic.rendering.media import (
    audio as audio_view,
    base as media,
)
from byzer_magic.rendering.media.audio import AudioView
from byzer_magic.types import Media
from tests.pages import Page
from tests.servers.audio_files import tone, wav_of


def clip(data: bytes, mime: str = "audio/wav", **more: str) -> AudioView:
    return AudioView(data=data, mime=mime, name="voice.wav", **more)  # type: ignore[arg-type]  # they are all text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(media, "EMBED_BYTES", 1000)
    return tmp_path


@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_peaks_follow_the_samples(kind: str, channels: int) -> None:
    rising = np.linspace(0, 0.9, 16000)[:, None] * np.where(np.arange(16000) % 2, 1, -1)[:, None]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.repeat(rising, channels, axis=1), 8000, format="WAV", subtype=kind)
    found = wav_file.read(buffer.getvalue())
    assert found is not None
    assert found.seconds == pytest.approx(2.0)
    shown = audio_view.peaks(found, 10)
    assert shown == pytest.approx([(n + 1) / 10 for n in range(10)], abs=0.03)


def test_peaks_of_silence_and_of_few_samples() -> None:
    for samples in (b"", b"\0\0", b"\0\0" * 100):
        found = wav_file.read(wav_of(samples))
        assert found is not None
        assert set(audio_view.peaks(found)) <= {0.0}
    assert len(audio_view.peaks(wav_file.read(wav_of(b"\1\0" * 5)) or pytest.fail("no wave"))) == 5


def test_peaks_of_long_audio_are_sampled() -> None:
    found = wav_file.read(wav_of(b"\0\x20" * 10_000_000, rate=48000))
    assert found is not None
    assert set(audio_view.peaks(found)) == {1.0}


@given(st.binary(max_size=200))
def test_peaks_of_damaged_audio_raise_nothing(data: bytes) -> None:
    for complete in (data, b"RIFF\0\0\0\0WAVE" + data, tone(0.01)[: len(data)], tone(0.01)[:36] + data):
        found = wav_file.read(complete)
        assert found is None or all(0 <= value <= 1 for value in audio_view.peaks(found))


def test_peaks_take_nan_for_silence() -> None:
    body = struct.pack("<4f", math.nan, math.inf, 0.5, -0.25)
    form = struct.pack("<HHIIHH", 3, 1, 8000, 32000, 4, 32)
    data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", 16) + body
    found = wav_file.read(data)
    assert found is not None
    assert audio_view.peaks(found, 4)[2:] == [1.0, 0.5]


def test_bundle_has_player_waveform_length_transcript_and_download() -> None:
    shown = audio_view.bundle(clip(tone(75), transcript="hello there", facts=("voice",)), "")
    page = Page(shown["text/html"])
    assert page.all("audio")[0]["src"].startswith("data:audio/wav;base64,")
    assert "hello there" in page.all("audio")[0]["aria-label"]
    assert page.all("div", "bz-wave")[0]["data-seconds"] == "75.000"
    assert page.all("svg")[0]["role"] == "img"
    assert page.all("button", "bz-download")[0]["data-bz-name"] == "voice.wav"
    assert "hello there" in page.text
    assert shown["text/plain"] == "voice · audio/wav · 1:15 · 1.2 MB"


def test_bundle_plays_pcm_and_has_no_waveform_of_compressed_audio() -> None:
    page = Page(audio_view.bundle(clip(b"\1\2" * 24000, "audio/pcm"), "")["text/html"])
    assert page.all("audio")[0]["src"].startswith("data:audio/wav;base64,UklGR")
    assert wav_file.seconds(b"\1\2" * 24000, "audio/pcm") == 1.0
    assert not Page(audio_view.bundle(clip(b"ID3xx", "audio/mpeg"), "")["text/html"]).all("svg")


def test_bundle_saves_large_audio_beside_the_notebook(here: Path) -> None:
    data = tone(1)
    shown = audio_view.bundle(clip(data), "")
    kept = next((here / "byzer_media").iterdir())
    assert kept.read_bytes() == data
    page = Page(shown["text/html"])
    assert page.all("audio")[0]["src"] == f"byzer_media/{kept.name}"
    assert page.all("a")[0]["href"] == f"byzer_media/{kept.name}"
    assert f"saved to byzer_media/{kept.name}" in shown["text/plain"]
    assert len(shown["text/html"]) < 20_000
    audio_view.bundle(clip(data), "")
    assert len(list((here / "byzer_media").iterdir())) == 1, "showing it again writes nothing new"


def test_bundle_links_large_audio_that_has_a_file(here: Path) -> None:
    (here / "my talk.wav").write_bytes(tone(1))
    transcribed = Media("audio/wav", tone(1), name="my talk.wav")
    shown = audio_view.bundle(audio_view.recording(transcribed, ""), "")
    assert Page(shown["text/html"]).all("audio")[0]["src"] == "my%20talk.wav"
    assert "the file is my talk.wav" in shown["text/plain"]
    assert not (here / "byzer_media").exists()


def test_bundle_names_large_audio_outside_of_the_folder(here: Path) -> None:
    transcribed = Media("audio/wav", tone(1), name="/somewhere/else.wav")
    page = Page(audio_view.bundle(audio_view.recording(transcribed, ""), "")["text/html"])
    assert "audio" not in page.tags()
    assert "/somewhere/else.wav" in page.text


def test_bundle_explains_save_where_nothing_can_be_written(here: Path) -> None:
    (here / "byzer_media").write_text("a file is in the way")
    shown = audio_view.bundle(clip(tone(1)), "")
    assert ".save(path)" in shown["text/plain"]
    assert "audio" not in Page(shown["text/html"]).tags()


def test_recording_is_downloaded_under_a_name_that_fits() -> None:
    for name, shown in (("talk.mp3", "talk.wav"), ("talk.wav", "talk.wav"), ("talk", "talk"), ("", "recording-Hi.wav")):
        assert audio_view.recording(Media("audio/wav", tone(), name=name), "Hi").name == shown


@pytest.mark.parametrize(("mime", "seconds"), [("audio/pcm", 1), ("audio/pcm;rate=48000", 0.5), ("audio/basic", 6)])
def test_raw_samples_are_played_as_wav(mime: str, seconds: float) -> None:
    page = Page(audio_view.bundle(clip(bytes(48_000), mime), "")["text/html"])
    assert page.all("audio")[0]["src"].startswith("data:audio/wav;base64,")
    assert float(page.all("div", "bz-wave")[0]["data-seconds"]) == seconds

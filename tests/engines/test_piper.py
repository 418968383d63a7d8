"""Piper with a real voice, and a Whisper that transcribes its speech."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import time
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.engine import audio, audio_encoder
from byzer_magic.client.collect import AudioCollector
from byzer_magic.types import AudioChunk, Media, SpeakRequest, TranscribeRequest
from tests.backends import opened, setup_of
from tests.engines.audio_files import word_error_rate
from tests.models import speech, whisper

KIND = "custom/piper"
PIPER = registry.find(KIND)
TEXT = " ".join(speech.STORY[:3])
CALM = {"noise_scale": 0, "noise_w": 0}
"""No chance in it: always the same samples."""
SPEAKERS = b"\x3a\x13\x5a\x11\x0a\x03sid\x12\x0a\x0a\x08\x08\x07\x12\x04\x0a\x02\x08\x01"
"""ONNX for "the graph has an input sid, too, of one int64": what a voice of several speakers has (protobuf merges).

The voice uses that name inside for something else.
"""

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def piper() -> AsyncIterator[Any]:
    backend = await opened(KIND, {}, model_path=str(speech.voice()))
    yield backend
    await backend.close()


async def speak(backend: Any, text: str, **options: Any) -> list[AudioChunk]:
    return [clip async for clip in backend.speak(SpeakRequest(text=text, options=options))]


def file_of(clips: list[AudioChunk]) -> Media:
    return Media(clips[0].mime, b"".join(clip.data for clip in clips))


def seconds(clips: list[AudioChunk]) -> float:
    return len(audio.samples(file_of(clips))) / audio.RATE


async def test_speak_is_transcribed_correctly(piper: Any) -> None:
    clip = file_of(await speak(piper, TEXT))
    listener = await opened("custom/whisper", {}, model_path=str(whisper.tiny_en_ct2()))
    request = TranscribeRequest(audio=clip)
    transcript = "".join([item.text async for item in listener.transcribe(request)])
    await listener.close()
    rate = word_error_rate(TEXT, transcript)
    print(f"spoke {TEXT!r}\ntranscribed {transcript!r}: {rate:.1%} of the words are wrong")
    assert rate < 0.15


async def test_speak_streams_sentences_of_one_file(piper: Any) -> None:
    request = SpeakRequest(text=TEXT)
    collector = AudioCollector("alias", request)
    arrived = []
    async for clip in piper.speak(request):
        arrived.append(time.process_time())
        collector.add(clip)
    assert len(arrived) == 3
    assert arrived[-1] - arrived[0] > 0.2
    result = collector.result()
    with wave.open(io.BytesIO(result.data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22_050)
        assert 8 < file.getnframes() / file.getframerate() < 16
        assert len(file.readframes(file.getnframes())) == 2 * file.getnframes() == len(result.data) - 44


@pytest.mark.parametrize("form", audio_encoder.MIMES)
async def test_speak_encodes_every_format(piper: Any, form: str) -> None:
    clips = await speak(piper, speech.STORY[2], response_format=form, model="tts-1", **CALM)
    assert {clip.mime for clip in clips} == {audio_encoder.MIMES[form]}
    wanted = seconds(await speak(piper, speech.STORY[2], **CALM))
    if form == "pcm":
        assert len(file_of(clips).data) / 2 / 24_000 == pytest.approx(wanted, abs=0.05)
    else:
        assert seconds(clips) == pytest.approx(wanted, abs=0.15)


async def test_speak_with_speed_volume_and_silence(piper: Any) -> None:
    normal = await speak(piper, speech.STORY[2], **CALM)
    assert file_of(normal) == file_of(await speak(piper, speech.STORY[2], **CALM))
    fast = await speak(piper, speech.STORY[2], speed=2, **CALM)
    assert 0.45 < seconds(fast) / seconds(normal) < 0.75, "no phoneme is shorter than a frame"
    assert file_of(fast) == file_of(await speak(piper, speech.STORY[2], length_scale="0.5", **CALM))
    apart = await speak(piper, speech.STORY[2], sentence_silence=1, **CALM)
    assert seconds(apart) == pytest.approx(seconds(normal) + 0.8, abs=0.01)
    soft = await speak(piper, speech.STORY[2], volume=0.1, **CALM)
    loudest = [np.abs(audio.samples(file_of(clips))).max() for clips in (soft, normal)]
    assert loudest[0] == pytest.approx(loudest[1] / 10, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"voice": "alloy"}, "has a single speaker, not 'alloy'", "Leave voice out"),
        ({"speed": 9}, "speed is 9, which is not in 0.25..4", "speed: 0.25"),
        ({"speed": "quick"}, "speed is 'quick'", "speed: 0.25"),
        ({"response_format": "midi"}, "response_format is 'midi'", "wav, mp3"),
        ({"voluem": 1}, "no option 'voluem'", "Did you mean volume?"),
        ({"instructions": "be kind"}, "no option 'instructions'", "Options: "),
        ({"normalize_audio": "much"}, "normalize_audio is 'much'", ""),
    ],
)
async def test_request_with_invalid_options_is_refused(piper: Any, options: Any, message: str, hint: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        await speak(piper, "Hello.", **options)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["", "   \n", "\ud800"])
async def test_speak_refuses_empty_text(piper: Any, text: str) -> None:
    with pytest.raises(errors.BadRequest, match="has no"):
        await speak(piper, text)


async def test_speak_accepts_the_name_of_the_voice(piper: Any) -> None:
    for name in ("en_US-joe-medium", "0", 0):
        assert await speak(piper, "Hello.", voice=name)


async def test_speak_splits_long_text(piper: Any) -> None:
    clips = await speak(piper, "and so on " * 60, speed=4)
    assert len(clips) == 2
    assert seconds(clips) > 5


async def test_speak_close_stops_after_a_sentence(piper: Any) -> None:
    async with aclosing(piper.speak(SpeakRequest(text=" ".join(speech.STORY * 5)))) as clips:
        async for _ in clips:
            break
        started = time.process_time()
    took = time.process_time() - started
    print(f"piper stopped after {took:.2f} s")
    assert took < 4
    assert not piper._turns.running
    assert await speak(piper, "Hello.")


async def test_requests_take_turns(piper: Any) -> None:
    first, second = await asyncio.gather(speak(piper, speech.STORY[2], **CALM), speak(piper, "Hello.", **CALM))
    assert seconds(first) > seconds(second)


async def test_speak_with_several_speakers(tmp_path: Path) -> None:
    voice = tmp_path / "pair.onnx"
    voice.write_bytes(speech.voice().read_bytes().replace(b"\x03sid", b"\x03own") + SPEAKERS)
    about = json.loads(speech.voice().with_name(f"{speech.voice().name}.json").read_text())
    about |= {"num_speakers": 2, "speaker_id_map": {"anna": 0, "bert": 1}}
    voice.with_name("pair.onnx.json").write_text(json.dumps(about))
    backend = await opened(KIND, {"voice": "bert", "speed": "2"}, model_path=str(tmp_path))
    assert await speak(backend, "Hello.")
    for name in ("anna", 1, "1"):
        assert await speak(backend, "Hello.", voice=name)
    with pytest.raises(errors.BadRequest, match="no speaker 'bart'") as caught:
        await speak(backend, "Hello.", voice="bart")
    assert caught.value.hint == "Did you mean bert?"
    await backend.close()
    with pytest.raises(errors.BadParameter, match="no speaker '2'"):
        setup_of(PIPER, {"speaker_id": "2"}, model_path=str(voice))


# ---- deploying


async def test_deployment_parameters_are_defaults_of_requests() -> None:
    params = {"backend.speed": "4", "noise_scale": "0", "noise_w": "0", "response_format": "mp3"}
    backend = await opened(KIND, params, model_path=str(speech.voice().parent), concurrency=2)
    fast, slow = await asyncio.gather(speak(backend, TEXT), speak(backend, TEXT, speed=1))
    assert {clip.mime for clip in (*fast, *slow)} == {"audio/mpeg"}
    assert seconds(slow) > 1.5 * seconds(fast)
    await backend.close()


async def test_find_refuses_what_is_not_a_voice(tmp_path: Path) -> None:
    voice = tmp_path / "voice.onnx"
    shutil.copy(speech.voice(), voice)
    about = tmp_path / "voice.onnx.json"
    for path in (voice, tmp_path):
        with pytest.raises(errors.BadParameter, match=r"voice\.onnx\.json does not exist"):
            setup_of(PIPER, {}, model_path=str(path))
    about.write_text("{}")
    with pytest.raises(errors.BadParameter, match="does not describe a Piper voice: it lacks audio"):
        setup_of(PIPER, {}, model_path=str(voice))
    shutil.copy(speech.voice().with_name(f"{speech.voice().name}.json"), about)
    setup_of(PIPER, {}, model_path=str(tmp_path))
    (tmp_path / "other.onnx").touch()
    with pytest.raises(errors.BadParameter, match=r"contains 2 voices: other\.onnx, voice\.onnx"):
        setup_of(PIPER, {}, model_path=str(tmp_path))
    with pytest.raises(errors.BadParameter, match="is not a Piper voice"):
        setup_of(PIPER, {}, model_path=str(about))
    with pytest.raises(errors.BadParameter, match="does not exist") as caught:
        setup_of(PIPER, {}, model_path=str(tmp_path / "voise.onnx"))
    assert "voice.onnx" in caught.value.hint
    with pytest.raises(errors.BadParameter, match=r"speed is 0\.0"):
        setup_of(PIPER, {"speed": "0"}, model_path=str(voice))


async def test_open_names_a_damaged_voice(tmp_path: Path) -> None:
    voice = tmp_path / "short.onnx"
    voice.write_bytes(speech.voice().read_bytes()[:1_000_000])
    shutil.copy(speech.voice().with_name(f"{speech.voice().name}.json"), tmp_path / "short.onnx.json")
    with pytest.raises(errors.EngineFailed, match=r"piper cannot load .*short\.onnx: the files are damaged") as caught:
        await opened(KIND, {}, model_path=str(voice))
    assert caught.value.hint == "Download the model again."

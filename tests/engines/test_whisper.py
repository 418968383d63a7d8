"""Whisper with real weights and real speech, in both of its engines."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.engine import audio
from byzer_magic.media.wav import write
from byzer_magic.types import Media, Segment, TranscribeRequest, TranscriptChunk
from tests.backends import opened, setup_of
from tests.engines.audio_files import made, word_error_rate
from tests.models import speech, whisper
from tests.waiting import happens

KIND = "custom/whisper"
WHISPER = registry.find(KIND, "transformers")
TINY = {"transformers": whisper.tiny_en, "faster-whisper": whisper.tiny_en_ct2}
STORY = " ".join(speech.STORY)
MOST_WRONG = 0.1
"""Words of a hundred that tiny.en may get wrong; it is about 0.04."""

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(TINY))
async def tiny(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    backend = await opened(KIND, {}, model_path=str(TINY[request.param]()))
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base() -> AsyncIterator[Any]:
    backend = await opened(KIND, {}, model_path=str(whisper.base()))
    yield backend
    await backend.close()


in_one_engine = pytest.mark.parametrize("tiny", ["faster-whisper"], indirect=True)
"""For what happens before an engine has the audio, and after it has made the segments."""


def wav(path: Path) -> Media:
    return Media("audio/wav", path.read_bytes())


def begin(seconds: float) -> Media:
    """The story as far as that."""
    return made("wav", audio.samples(wav(speech.story()))[: int(seconds * audio.RATE)], audio.RATE)


def samples(seconds: float, loudness: float = 0.0) -> np.ndarray:
    chance = np.random.default_rng(1)
    return (chance.standard_normal(int(seconds * audio.RATE)) * loudness).astype(np.float32)


async def transcribed(backend: Any, clip: Media, **options: Any) -> list[TranscriptChunk]:
    return [item async for item in backend.transcribe(TranscribeRequest(audio=clip, options=options))]


def text_of(items: list[TranscriptChunk]) -> str:
    return "".join(item.text for item in items)


def segments_of(items: list[TranscriptChunk]) -> list[Segment]:
    return [segment for item in items for segment in item.segments or []]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tiny: Any) -> list[tuple[float, TranscriptChunk]]:
    """The transcript of the story, and after how many seconds each segment came."""
    started = time.process_time()
    request = TranscribeRequest(audio=wav(speech.story()))
    return [(time.process_time() - started, item) async for item in tiny.transcribe(request)]


async def test_transcribe_has_a_low_word_error_rate(tiny: Any, story: list[tuple[float, TranscriptChunk]]) -> None:
    rates = {"story": word_error_rate(STORY, text_of([item for _, item in story]))}
    for number, output in enumerate(speech.SENTENCES):
        rates[f"sentence {number}"] = word_error_rate(
            output, text_of(await transcribed(tiny, wav(speech.sentence(number))))
        )
    shown = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
    took, last = story[-1]
    print(f"{type(tiny._engine).__name__}, words wrong: {shown}; {last.duration} s of audio in {took:.1f} s")
    assert max(rates.values()) < MOST_WRONG


async def test_transcribe_streams_long_audio(story: list[tuple[float, TranscriptChunk]]) -> None:
    assert story[-1][0] - story[0][0] > 0.3, "the first segments do not wait for the last window"
    items = [item for _, item in story]
    *segments, last = items
    assert len(segments) > 5
    assert all(segment.text and segment.segments for segment in segments)
    assert (last.language, last.duration) == ("en", pytest.approx(50.68, abs=0.1))
    text = text_of(items)
    assert text == text.strip()
    assert "  " not in text
    segments = segments_of(items)
    assert text == " ".join(segment.text for segment in segments)
    assert segments[0].start < 0.5
    assert 48 < segments[-1].end <= 50.8
    for one, other in itertools.pairwise(segments):
        assert one.start < one.end <= other.start + 0.01


async def test_transcribe_times_are_of_the_complete_audio(tiny: Any) -> None:
    items = await transcribed(tiny, wav(speech.pause()))
    assert word_error_rate(" ".join(speech.SENTENCES[:2]), text_of(items)) < MOST_WRONG
    first, *_, last = segments_of(items)
    assert first.start < 0.5
    assert first.end < 5.5
    assert last.end == pytest.approx(49.5, abs=0.5)
    assert all(segment.end < 5.5 or segment.start > 44 for segment in segments_of(items))


@pytest.mark.parametrize(
    "clip", [samples(8), samples(8, 0.01), samples(8, 0.2), samples(0.01)], ids=["nothing", "noise", "loud", "short"]
)
async def test_transcribe_silence_is_empty(tiny: Any, clip: np.ndarray) -> None:
    [item] = await transcribed(tiny, made("wav", clip, audio.RATE))
    assert (item.text, item.segments) == ("", [])
    assert item.duration == pytest.approx(len(clip) / audio.RATE, abs=0.01)


@in_one_engine
@pytest.mark.parametrize(("form", "gains"), [("wav", (0.6, -1)), ("webm", (-1, 1, 0, 0, 0, 0))], ids=str)
async def test_transcribe_hears_channels_that_cancel(tiny: Any, form: str, gains: tuple[float, ...]) -> None:
    """Other formats and gains: test_audio.py."""
    output = speech.SENTENCES[0]
    voice = audio.samples(wav(speech.sentence(0)))
    clip = made(form, voice, 48_000, channels=len(gains), gains=gains)
    assert word_error_rate(output, text_of(await transcribed(tiny, clip))) < MOST_WRONG


@in_one_engine
async def test_transcribe_hears_a_channel_turned_for_a_while(tiny: Any) -> None:
    voice = audio.samples(wav(speech.sentence(0)))
    turned = np.where(np.arange(len(voice)) // audio.RATE % 2, -voice, voice)
    clip = Media("audio/wav", write((np.stack([voice, turned], 1) * 32767).astype("<i2").tobytes(), audio.RATE, 2))
    assert word_error_rate(speech.SENTENCES[0], text_of(await transcribed(tiny, clip))) < MOST_WRONG


async def test_transcribe_says_that_audio_is_silent(tiny: Any) -> None:
    [item] = await transcribed(tiny, made("wav", samples(2), audio.RATE))
    assert (item.text, item.extra) == ("", {"silent": True})
    [item] = await transcribed(tiny, made("wav", samples(8, 0.01), audio.RATE))
    assert (item.text, item.extra) == ("", None)


async def test_transcribe_noise_ends() -> None:
    backend = await opened(KIND, {"vad_filter": "false"}, model_path=str(whisper.tiny_en()))
    text = text_of(await transcribed(backend, made("wav", samples(20, 0.01), audio.RATE)))
    print(f"transcript of 20 s of noise without a filter: {text!r}")
    assert len(text) < 100
    await backend.close()


async def test_transcribe_word_timestamps(tiny: Any) -> None:
    items = await transcribed(tiny, wav(speech.sentence(0)), timestamp_granularities=["word"])
    found = items[-1].extra["words"]
    assert word_error_rate(speech.SENTENCES[0], " ".join(word["word"] for word in found)) < MOST_WRONG
    times = {word["word"].lower(): (word["start"], word["end"]) for word in found}
    for word, start in {"quick": 0.26, "jumps": 1.16, "watches": 3.1, "wooden": 4.14}.items():
        assert times[word][0] == pytest.approx(start, abs=0.2), word
    for one, other in itertools.pairwise(found):
        assert one["start"] <= one["end"] <= other["end"]
    assert found[-1]["end"] <= items[-1].duration


@in_one_engine
async def test_transcribe_a_compressed_file(tiny: Any) -> None:
    """Other formats, rates and channels: test_audio.py."""
    voice = audio.samples(wav(speech.sentence(0)))
    items = await transcribed(tiny, made("webm", voice, 48_000, channels=2))
    assert word_error_rate(speech.SENTENCES[0], text_of(items)) < MOST_WRONG


@in_one_engine
async def test_transcribe_response_formats(tiny: Any) -> None:
    for form in ("text", "json"):
        items = await transcribed(tiny, wav(speech.sentence(0)), response_format=form, model="whisper-1", temperature=0)
        assert text_of(items).startswith("The quick brown fox")
        assert not any(item.segments or item.duration or item.extra for item in items)
    items = await transcribed(tiny, wav(speech.sentence(0)), response_format="verbose_json", language="en")
    assert segments_of(items)
    assert items[-1].language == "en"


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"response_format": "srt"}, "response_format is 'srt'", "text, json, verbose_json"),
        ({"langauge": "en"}, "no option 'langauge'", "Did you mean language?"),
        ({"language": "klingon"}, "the language 'klingon'", "Use a code"),
        ({"language": "germann"}, "the language 'germann'", "Did you mean german?"),
        ({"language": "zh"}, "supports English only, not Chinese", "multilingual"),
        ({"task": "translate"}, "supports English only, so it cannot translate", "multilingual"),
        ({"task": "sing"}, "not one of transcribe, translate", "into English"),
        ({"temperature": 2}, "temperature is 2, which is not in 0..1", "0 for greedy"),
        ({"temperature": "hot"}, "temperature is 'hot'", "starts at 0"),
        ({"num_beams": 0}, "num_beams is 0, which is not in 1..32", ""),
        ({"num_beams": 2.5}, "num_beams is 2.5", "beam size"),
        ({"vad_filter": "perhaps"}, "vad_filter is 'perhaps'", "silence"),
    ],
)
async def test_request_with_invalid_options_is_refused(tiny: Any, options: Any, message: str, hint: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        await transcribed(tiny, wav(speech.sentence(0)), **options)
    assert message in caught.value.message
    assert hint in caught.value.hint


async def test_transcribe_refuses_a_request_without_audio(tiny: Any) -> None:
    with pytest.raises(errors.BadRequest, match="the request has no audio"):
        await transcribed(tiny, Media("audio/wav"))
    with pytest.raises(errors.BadRequest, match="cannot be decoded"):
        await transcribed(tiny, Media("audio/wav", b"no audio"))
    assert text_of(await transcribed(tiny, wav(speech.sentence(0)))), "the model is as ready as before"


async def test_options_reach_the_model(tiny: Any) -> None:
    plain = text_of(await transcribed(tiny, begin(4.9)))
    reported = text_of(
        await transcribed(tiny, begin(4.9), prompt="the harbour, the colour, my neighbour", num_beams="2")
    )
    assert plain.endswith("harbor.")
    assert reported.endswith("harbour.")


async def test_close_stops_the_model_and_leaves_it_ready(tiny: Any) -> None:
    async with aclosing(tiny.transcribe(TranscribeRequest(audio=wav(speech.story())))) as items:
        async for _ in items:
            break
        started = time.process_time()
    took = time.process_time() - started
    print(f"{type(tiny._engine).__name__} stopped after {took:.2f} s")
    assert took < 5
    assert not tiny._turns.running
    assert "fox" in text_of(await transcribed(tiny, wav(speech.sentence(0))))


async def test_transcribe_cancelled_ends_within_a_window(tiny: Any) -> None:
    task = asyncio.create_task(transcribed(tiny, wav(speech.story())))
    await asyncio.sleep(1)
    started = time.process_time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.process_time() - started < 8
    assert "fox" in text_of(await transcribed(tiny, wav(speech.sentence(0))))


async def test_requests_take_turns(tiny: Any) -> None:
    transcript = await asyncio.gather(*(transcribed(tiny, wav(speech.sentence(number))) for number in (0, 1)))
    assert "fox" in text_of(transcript[0])
    assert "passport" in text_of(transcript[1])


async def test_transcribe_two_requests_at_once_with_ctranslate2() -> None:
    path = str(whisper.tiny_en_ct2())
    backend = await opened(KIND, {"compute_type": "int8", "beam_size": "1"}, model_path=path, concurrency=2)
    tasks = [asyncio.create_task(transcribed(backend, wav(speech.sentence(number)))) for number in (0, 1)]
    assert await happens(lambda: backend._turns.running == 2)
    for output, items in zip(speech.SENTENCES, await asyncio.gather(*tasks), strict=False):
        assert word_error_rate(output, text_of(items)) < 2 * MOST_WRONG
    await backend.close()


async def test_transcribe_detects_the_language(base: Any) -> None:
    items = await transcribed(base, wav(speech.sentence(0)))
    assert items[-1].language == "en"
    assert word_error_rate(speech.SENTENCES[0], text_of(items)) < MOST_WRONG
    items = await transcribed(base, wav(speech.sentence(0)), language="English", task="translate")
    assert items[-1].language == "en"
    assert "fox" in text_of(items)


async def test_transcribe_prefers_the_given_language(base: Any) -> None:
    items = await transcribed(base, wav(speech.sentence(0)), language="de-AT", temperature=[0])
    print(f"English transcribed as German: {text_of(items)!r}")
    assert items[-1].language == "de"
    assert "the quick brown" not in text_of(items).lower()


async def test_transcribe_refuses_a_language_of_newer_models(base: Any) -> None:
    with pytest.raises(errors.BadRequest, match="does not support Cantonese"):
        await transcribed(base, wav(speech.sentence(0)), language="yue")


async def test_transcribe_multilingual_with_ctranslate2() -> None:
    backend = await opened(KIND, {"num_beams": "1"}, model_path=str(whisper.base_ct2()))
    items = await transcribed(backend, wav(speech.sentence(2)))
    assert items[-1].language == "en"
    assert word_error_rate(speech.SENTENCES[2], text_of(items)) < 2 * MOST_WRONG
    await backend.close()


async def test_transcribe_with_shorter_windows_and_context() -> None:
    params = {"chunk_length_s": "12", "condition_on_prev_tokens": "true", "language": "en"}
    backend = await opened(KIND, params, model_path=str(whisper.tiny_en()))
    items = await transcribed(backend, begin(22.1))
    assert word_error_rate(" ".join(speech.STORY[:5]), text_of(items)) < 1.5 * MOST_WRONG
    assert segments_of(items)[-1].end == pytest.approx(21.6, abs=0.8)
    await backend.close()


# ---- deploying


async def test_parameters_of_older_commands_are_accepted() -> None:
    setup = setup_of(WHISPER, {"backend.num_beams": "3", "torch_dtype": "float32"}, model_path=str(whisper.tiny_en()))
    assert (setup.params["num_beams"], setup.params["dtype"]) == (3, "float32")


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        (whisper.tiny_en, {"language": "fr"}, "not French"),
        (whisper.tiny_en_ct2, {"task": "translate"}, "cannot translate"),
        (whisper.tiny_en, {"dtype": "int8"}, "dtype is 'int8', which transformers does not support"),
        (whisper.tiny_en_ct2, {"dtype": "floot16"}, "which faster_whisper does not support"),
        (whisper.tiny_en, {"chunk_length_s": "60"}, "chunk_length_s is 60"),
        (whisper.tiny_en, {"hotwords": "Byzer"}, "hotwords apply only to CTranslate2 folders"),
        (whisper.tiny_en_ct2, {"attn_implementation": "sdpa"}, "applies only to Hugging Face folders"),
        (whisper.tiny_en, {"temprature": "0"}, "no parameter 'temprature'"),
        (speech.voice, {}, "is not a recognized model file"),
    ],
)
async def test_parameters_are_checked_before_anything_starts(path: Any, params: Any, message: str) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        setup_of(WHISPER, params, model_path=str(path()))
    assert message in caught.value.message


async def test_check_imports_nothing_heavy() -> None:
    code = """
import sys
from byzer_magic.backends import registry
from byzer_magic.backends.base import Setup, typed_params
for kind, path in (("custom/whisper", sys.argv[1]), ("custom/whisper", sys.argv[2]), ("custom/piper", sys.argv[3])):
    backend = registry.find(kind)
    registry.require(backend.info)
    backend.check(Setup(model="a", params=typed_params(backend.info, {}, {}), model_path=path))
heavy = {"torch", "transformers", "faster_whisper", "ctranslate2", "av", "onnxruntime", "piper", "numpy", "tokenizers"}
print(sorted(heavy & set(sys.modules)))
"""
    paths = [str(path()) for path in (whisper.tiny_en, whisper.tiny_en_ct2, speech.voice)]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_open_refuses_a_folder_without_tokenizer(tmp_path: Path) -> None:
    for source, name in ((whisper.tiny_en(), "model.safetensors"), (whisper.tiny_en_ct2(), "model.bin")):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "generation_config.json", "vocabulary.txt"):
            if (source / file).is_file():
                shutil.copy(source / file, folder)
        (folder / name).symlink_to(source / name)
        with pytest.raises(errors.BadParameter, match="has no tokenizer"):
            setup_of(WHISPER, {}, model_path=str(folder))


async def test_damaged_weights_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whisper.tiny_en_ct2(), folder)
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:1_000_000])
    with pytest.raises(errors.EngineFailed, match=r"faster-whisper cannot load .* the files are damaged") as caught:
        await opened(KIND, {}, model_path=str(folder))
    assert caught.value.hint == "Download the model again."
    shutil.copytree(whisper.tiny_en(), folder, dirs_exist_ok=True)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1_000_000])
    with pytest.raises(errors.BadParameter, match="Download it again"):
        setup_of(WHISPER, {}, model_path=str(folder))


async def test_open_accepts_a_fine_tuned_model_without_generation_config(tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    shutil.copytree(whisper.tiny_en(), folder)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"forced_decoder_ids": [[1, 50362]]}))
    backend = await opened(KIND, {}, model_path=str(folder))
    items = await transcribed(backend, wav(speech.sentence(0)), word_timestamps=True)
    assert word_error_rate(speech.SENTENCES[0], text_of(items)) < MOST_WRONG
    assert len(items[-1].extra["words"]) == len(speech.SENTENCES[0].split())
    await backend.close()


async def test_open_refuses_a_missing_device() -> None:
    with pytest.raises(errors.BadParameter, match="torch cannot use here"):
        await opened(KIND, {"device": "cuda:7"}, model_path=str(whisper.tiny_en()))

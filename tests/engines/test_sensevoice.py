"""SenseVoice through FunASR, with models trained on the spot and a real voice."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import json
import re
import shutil
import socket
import threading
import time
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.custom.sensevoice import files as sensevoice_files, params as sensevoice_params
from byzer_magic.backends.custom.sensevoice.engine import SILERO_SECONDS
from byzer_magic.backends.engine import loading
from byzer_magic.media.wav import write
from byzer_magic.types import Media, TranscribeRequest, TranscriptChunk
from tests.backends import opened, setup_of
from tests.models import fsmn_vad, sensevoice, speech
from tests.waiting import PATIENCE

KIND = "custom/sensevoice"
SENSEVOICE = registry.find(KIND)
RATE = sensevoice.RATE
HUB_NAME = "speech_fsmn_vad_zh-cn-16k-common-pytorch"
SEED = {"vad_model": "fsmn-vad", "vad_kwargs.max_single_segment_time": "30000"}

pytestmark = pytest.mark.engine
shared = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, with the detector's beside it under its hub's name."""
    models = tmp_path_factory.mktemp("models")
    (models / HUB_NAME).symlink_to(fsmn_vad.fsmn_vad())
    (models / "SenseVoiceSmall").symlink_to(sensevoice.sensevoice())
    return models / "SenseVoiceSmall"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(folder: Path) -> AsyncIterator[Any]:
    backend = await opened(KIND, SEED, model_path=str(folder))
    yield backend
    await backend.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(sensevoice.sensevoice(), tmp_path / "model"))


def recording_of(*names: str, pause: float = 2.5) -> Any:
    """Return phrases with pauses around them."""
    parts = [sensevoice.noise(pause)]
    for number, name in enumerate(names):
        parts += [sensevoice.samples(name), sensevoice.noise(pause, number)]
    return np.concatenate(parts)


def wav(samples: Any) -> Media:
    with wave.open(file := io.BytesIO(), "wb") as recording:
        recording.setparams((1, 2, RATE, 0, "NONE", ""))
        recording.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return Media("audio/wav", file.getvalue())


async def transcripts_of(backend: Any, recording: Media | Any, **options: Any) -> list[TranscriptChunk]:
    media = recording if isinstance(recording, Media) else wav(recording)
    return [item async for item in backend.transcribe(TranscribeRequest(audio=media, options=options))]


def text_of(items: list[TranscriptChunk]) -> str:
    return "".join(item.text for item in items)


@shared
async def test_guide_command_works(backend: Any) -> None:
    items = await transcripts_of(backend, recording_of("hello", "morning", "nihao", "zaijian", "tune", "fox"))
    assert text_of(items) == "Hello world. Good morning. 你好吗。再见。 The quick brown fox."
    assert len(items) == 6, "stretch after stretch, then what holds for all"
    found = [segment for item in items for segment in item.segments or []]
    assert [segment.text for segment in found][:2] == ["Hello world.", "Good morning."]
    assert 2.0 < found[0].start < 2.7 < 3.0 < found[0].end < 4.0
    last = items[-1]
    assert last.extra is not None
    assert (last.language, last.extra["language"], last.extra["emotion"]) == ("en", "en", "NEUTRAL")
    assert last.extra["events"] == ["Speech", "BGM"]
    assert [tags["emotion"] for tags in last.extra["tags"]][:3] == ["NEUTRAL", "HAPPY", "NEUTRAL"]
    assert [tags["language"] for tags in last.extra["tags"]][2:4] == ["zh", "zh"]
    assert last.duration is not None
    assert abs(last.duration - len(recording_of("hello", "morning", "nihao", "zaijian", "tune", "fox")) / RATE) < 0.01


@shared
async def test_transcribe_returns_what_generate_returns(backend: Any) -> None:
    recording = recording_of("hello", "fox", "tune", "count", "nihao", *["morning", "fox"] * 9)
    assert len(recording) > 65 * RATE
    quantised = np.frombuffer(wav(recording).data[44:], "<i2").astype("float32") / 32768
    [stock] = await asyncio.to_thread(backend._recognizer._model.generate, quantised, language="auto", use_itn=False)
    ours = text_of(await transcripts_of(backend, recording, use_itn=False, tags="keep"))
    assert ours.split() == stock["text"].split()
    assert ours.count("<|Speech|>") > 20


@shared
async def test_transcribe_with_options(backend: Any) -> None:
    recording = recording_of("count", "morning")
    assert text_of(await transcripts_of(backend, recording, use_itn=False)) == "one two three good morning"
    kept = text_of(await transcripts_of(backend, recording, tags="keep"))
    assert kept == "<|en|><|SAD|><|Speech|><|withitn|> 1 2 3. <|en|><|HAPPY|><|Speech|><|withitn|> Good morning."
    assert text_of(await transcripts_of(backend, recording, tags="emoji")) == "1 2 3.😔 Good morning.😊"
    for language in ("zh", "zh-CN", "Chinese"):
        assert "<|zh|>" in text_of(await transcripts_of(backend, recording_of("fox"), tags="keep", language=language))
    assert text_of(
        await transcripts_of(backend, recording, response_format="json", model="x", use_itn="false")
    ).startswith("one")


@shared
@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"langauge": "zh"}, "no option 'langauge'", "Did you mean language?"),
        ({"language": "xx"}, "language is 'xx', which is not one of auto, zh", "Meaning: "),
        ({"tags": "none"}, "tags is 'none', which is not one of clean, keep", "Meaning: "),
        ({"use_itn": 7}, "use_itn is '7', which is not true or false", "Meaning: "),
        ({"hotword": "Byzer"}, "no option 'hotword'", "Options: language, use_itn, tags"),
    ],
)
async def test_transcribe_refuses_invalid_options(backend: Any, options: dict[str, Any], words: str, hint: str) -> None:
    with pytest.raises(errors.BadRequest, match=words) as caught:
        await transcripts_of(backend, recording_of("hello"), **options)
    assert caught.value.hint.startswith(hint)


@shared
async def test_transcribe_resamples(backend: Any) -> None:
    recording = Media("audio/wav", sensevoice.clip("fox").read_bytes())
    assert text_of(await transcripts_of(backend, recording)) == "The quick brown fox."


@shared
@pytest.mark.parametrize("gains", [(1, -1), (0.5, -1), (0, 1, -1, 0)], ids=str)
async def test_transcribe_hears_channels_that_cancel(backend: Any, gains: tuple[float, ...]) -> None:
    voice = (np.outer(sensevoice.samples("fox"), gains) * 32767).astype("<i2")
    recording = Media("audio/wav", write(voice.tobytes(), RATE, len(gains)))
    assert text_of(await transcripts_of(backend, recording)) == "The quick brown fox."


@shared
async def test_transcribe_says_that_audio_is_silent(backend: Any) -> None:
    [item] = await transcripts_of(backend, np.zeros(3 * RATE))
    assert item.extra is not None
    assert item.extra["silent"]
    [*_, item] = await transcripts_of(backend, recording_of("fox"))
    assert item.extra is not None
    assert "silent" not in item.extra


@shared
@pytest.mark.parametrize("count", [1, 100, 399, 400, 1600])
async def test_transcribe_takes_a_click(backend: Any, count: int) -> None:
    [*_, item] = await transcripts_of(backend, np.where(np.arange(count) % 2, 0.5, -0.5))
    assert item.duration == pytest.approx(count / RATE)


@shared
async def test_transcribe_silence_and_very_short_audio(backend: Any) -> None:
    for recording in (sensevoice.noise(5), np.zeros(3 * RATE), np.zeros(1), np.zeros(100), np.zeros(RATE // 10)):
        [item] = await transcripts_of(backend, recording)
        assert (item.text, item.language, item.segments) == ("", None, None)
        assert item.duration == pytest.approx(len(recording) / RATE)


@shared
@pytest.mark.parametrize("seconds", [59.9, 60.0, 60.01, 60.6, 61.5])
async def test_transcribe_keeps_speech_at_the_end_of_a_block(backend: Any, seconds: float) -> None:
    fox = sensevoice.samples("fox")
    recording = np.concatenate([sensevoice.noise(seconds - len(fox) / RATE), fox])
    items = await transcripts_of(backend, recording)
    assert text_of(items).startswith("The quick")
    assert items[-2].segments is not None
    assert items[-2].segments[-1].end > seconds - 0.5


@shared
async def test_transcribe_refuses_what_cannot_be_decoded(backend: Any) -> None:
    with pytest.raises(errors.BadRequest, match="cannot be decoded"):
        await transcripts_of(backend, Media("audio/wav", b"not audio"))
    with pytest.raises(errors.BadRequest, match="the request has no audio"):
        await transcripts_of(backend, Media("audio", url="https://example.com/a.wav"))


@shared
async def test_transcribe_close_stops_between_segments(backend: Any) -> None:
    long = wav(np.tile(recording_of("hello", "fox", "morning"), 60))
    async with aclosing(backend.transcribe(TranscribeRequest(audio=long))) as items:
        first = await anext(items)
        started = time.process_time()
    took = time.process_time() - started
    assert first.text == "Hello world."
    assert first.duration > 600
    print(f"stopped after {took * 1000:.0f} ms of audio of {first.duration:.0f} s")
    assert took < 1
    assert text_of(await transcripts_of(backend, recording_of("hello"))) == "Hello world."


@shared
async def test_requests_take_turns(backend: Any) -> None:
    names = ("hello", "fox", "morning")
    found = await asyncio.gather(*(transcripts_of(backend, recording_of(name)) for name in names))
    assert [text_of(items) for items in found] == ["Hello world.", "The quick brown fox.", "Good morning."]


@shared
async def test_transcribe_ten_minutes_in_little_memory(backend: Any) -> None:
    recording = wav(np.tile(recording_of("hello", "fox", "morning"), 45))
    await transcripts_of(backend, recording_of("hello"))
    before = loading.memory()
    started = time.monotonic()
    items = await transcripts_of(backend, recording)
    assert items[-1].duration is not None
    minutes = items[-1].duration / 60
    grown = (loading.memory() - before) / 1e6
    print(f"{minutes:.0f} minutes in {time.monotonic() - started:.1f} s, {grown:.0f} MB more")
    assert len(items) > 100
    assert grown < 300


@shared
async def test_recognize_a_batch_like_single_clips(backend: Any) -> None:
    settings = sensevoice_params.asked({}, {})
    clips = [recording_of(name, pause=0.2) for name in ("hello", "fox", "nihao")]
    together = await asyncio.to_thread(backend._recognizer.recognize, clips, settings)
    assert [text.rpartition(">")[2].strip() for text in together] == [
        "Hello world.",
        "The quick brown fox.",
        "你好吗。",
    ]


async def test_open_prints_nothing_and_keeps_logging(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging = importlib.import_module("logging")
    before = (logging.root.handlers[:], logging.root.level)
    backend = await opened(KIND, {"vad_model": "fsmn-vad"}, model_path=str(folder))
    assert text_of(await transcripts_of(backend, recording_of("hello"))) == "Hello world."
    await backend.close()
    assert capfd.readouterr().out == ""
    assert (logging.root.handlers, logging.root.level) == before


async def test_silero_needs_no_hub(folder: Path) -> None:
    params = {"vad_model": "silero-vad", "vad_kwargs.max_single_segment_time": "30000", "tags": "keep"}
    params |= {"vad_kwargs.silero_threshold": "0.4", "use_itn": "false"}
    backend = await opened(KIND, params, model_path=str(folder))
    text = text_of(await transcripts_of(backend, recording_of("hello", "tune", "fox")))
    assert (
        text
        == "<|en|><|NEUTRAL|><|Speech|><|woitn|> hello world <|en|><|NEUTRAL|><|Speech|><|woitn|> the quick brown fox"
    )
    fox = sensevoice.samples("fox")
    before = sensevoice.noise(SILERO_SECONDS - len(fox) / RATE / 2)
    items = await transcripts_of(backend, np.concatenate([before, fox, sensevoice.noise(2)]), tags="clean")
    assert text_of(items) == "the quick brown fox", "complete, though a block ends in the middle of it"
    assert items[0].segments is not None
    assert items[0].segments[0].start == pytest.approx(SILERO_SECONDS - len(fox) / RATE / 2, abs=0.3)
    await backend.close()


async def test_transcribe_short_audio_without_a_detector(folder: Path) -> None:
    backend = await opened(KIND, {"ncpu": "1", "device": "cpu"}, model_path=str(folder))
    items = await transcripts_of(backend, sensevoice.samples("morning"))
    assert text_of(items) == "Good morning."
    assert items[0].segments is not None
    assert items[0].segments[0].start == 0
    await backend.close()


async def test_merge_vad_joins_short_segments(folder: Path) -> None:
    params = {**SEED, "merge_vad": "true", "merge_length_s": "6", "vad_kwargs.max_end_silence_time": "300"}
    backend = await opened(KIND, params, model_path=str(folder))
    items = await transcripts_of(backend, recording_of("morning", "morning", "fox", pause=0.8))
    found = [segment for item in items for segment in item.segments or []]
    assert len(found) == 1
    assert "Good morning" in found[0].text
    await backend.close()


async def test_open_accepts_the_published_layout(copy: Path) -> None:
    """Where a configuration.json gives files other names, as in the folders on the hubs."""
    (copy / "bpe.model").rename(copy / "chn_jpn_yue_eng_ko_spectok.bpe.model")
    metas = {
        "init_param": "model.pt", "config": "config.yaml", "frontend_conf": {"cmvn_file": "am.mvn"},
        "tokenizer_conf": {"bpemodel": "chn_jpn_yue_eng_ko_spectok.bpe.model"},
    }  # fmt: skip
    (copy / "configuration.json").write_text(json.dumps({"model": {"type": "funasr"}, "file_path_metas": metas}))
    backend = await opened(KIND, {}, model_path=str(copy))
    assert text_of(await transcripts_of(backend, sensevoice.samples("fox"))) == "The quick brown fox."
    await backend.close()
    (copy / "chn_jpn_yue_eng_ko_spectok.bpe.model").unlink()
    with pytest.raises(errors.BadParameter, match=r"lacks chn_jpn_yue_eng_ko_spectok\.bpe\.model\."):
        setup_of(SENSEVOICE, {}, model_path=str(copy))


# ---- what is checked before a deploy


@pytest.mark.parametrize("name", ["config.yaml", "model.pt", "am.mvn", "bpe.model"])
def test_missing_files_are_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(errors.BadParameter, match=f"lacks {re.escape(name)}"):
        setup_of(SENSEVOICE, {}, model_path=str(copy))


def test_check_refuses_a_git_lfs_pointer(copy: Path) -> None:
    (copy / "model.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(errors.BadParameter, match="Git LFS pointer"):
        setup_of(SENSEVOICE, {}, model_path=str(copy))


def test_check_names_other_models(tmp_path: Path) -> None:
    for path, words in (
        (fsmn_vad.fsmn_vad(), "lacks bpe.model"),
        (speech.voice().parent, "is not a recognized model"),
        (sensevoice.sensevoice() / "model.pt", "is a file"),
        (tmp_path / "nothing", "does not exist"),
    ):
        with pytest.raises(errors.BadParameter, match=words):
            setup_of(SENSEVOICE, {}, model_path=str(path))


@pytest.mark.parametrize(
    ("params", "words", "hint"),
    [
        ({"vad_model": "fsmn-vda"}, "vad_model is 'fsmn-vda', which is neither a known", "Did you mean fsmn-vad?"),
        ({"vad_model": "./vad"}, "vad_model is './vad'", "Use fsmn-vad, silero-vad, the full path of a folder"),
        ({"vad_model": "/nowhere/vad"}, "which does not exist", ""),
        (
            {"vad_model": "fsmn-vad", "vad_kwargs.max_single_segment_tim": "1"},
            "no parameter",
            "Did you mean vad_kwargs",
        ),
        ({"vad_kwargs.max_single_segment_time": "30000"}, "has no effect without vad_model", "Add vad_model"),
        ({**SEED, "vad_kwargs.max_single_segment_time": "0"}, "is 0, which is not positive", "Use a number"),
        ({**SEED, "vad_kwargs.max_single_segment_time": "30s"}, "is not a whole number", ""),
        ({**SEED, "vad_kwargs.silero_threshold": "0.4"}, "does not apply to vad_model=fsmn-vad", "Leave it out"),
        (
            {"vad_model": "silero-vad", "vad_kwargs.snr_thres": "1"},
            "does not apply to vad_model=silero-vad",
            "Leave it out",
        ),
        ({"merge_vad": "true"}, "merge_vad has no effect without vad_model", "Add vad_model"),
        ({"remote_code": "./model.py"}, "has no effect without trust_remote_code", "Add trust_remote_code"),
        ({"language": "de"}, "which is not one of auto, zh", ""),
        ({"hotword": "Byzer"}, "no parameter 'hotword'", ""),
    ],
)
def test_check_refuses_invalid_parameters(folder: Path, params: dict[str, str], words: str, hint: str) -> None:
    with pytest.raises(errors.BadParameter, match=words) as caught:
        setup_of(SENSEVOICE, params, model_path=str(folder))
    assert caught.value.hint.startswith(hint)


def test_check_refuses_the_model_as_detector(folder: Path) -> None:
    with pytest.raises(errors.BadParameter, match="not a voice activity detector: its config"):
        setup_of(SENSEVOICE, {"vad_model": str(folder)}, model_path=str(folder))


def test_check_accepts_all_settings_of_fsmn_vad(folder: Path) -> None:
    model = importlib.import_module("funasr.models.fsmn_vad_streaming.model")
    theirs = set(inspect.signature(model.VADXOptions.__init__).parameters) - {"self", "kwargs"}
    used = set(re.findall(r'kwargs\.get\(\s*"(\w+)"', inspect.getsource(model.FsmnVADStreaming)))
    ours = {*sensevoice_params.FSMN_VAD, *sensevoice_params.BOTH_VADS} - {"device"}
    assert theirs <= ours
    assert ours - theirs == {"dynamic_silence", "silence_schedule"} & used
    given = {"float": "0.5", "int": "8", "bool": "true", "json": "[0]"}
    params = {f"vad_kwargs.{name}": given[kind] for name, (kind, _) in sensevoice_params.FSMN_VAD.items()}
    setup_of(SENSEVOICE, {"vad_model": "fsmn-vad", **params}, model_path=str(folder))


async def test_settings_reach_the_detector(folder: Path) -> None:
    params = {"vad_model": "fsmn-vad", "vad_kwargs.max_single_segment_time": "1500", "vad_kwargs.decibel_thres": "-90"}
    backend = await opened(KIND, params, model_path=str(folder))
    options = backend._recognizer._model.vad_model.vad_opts
    assert (options.max_single_segment_time, options.decibel_thres) == (1500, -90.0)
    items = await transcripts_of(backend, sensevoice.samples("fox").repeat(3), tags="keep")
    assert len(items) > 2, "one long stretch is split"
    await backend.close()


# ---- where the detector comes from


def places(tmp_path: Path) -> list[tuple[dict[str, str], Path]]:
    """Return variables, and a place where a detector is found with them."""
    home = tmp_path / "home"
    cache, hub = tmp_path / "cache", home / ".cache/modelscope"
    hugging = "models--funasr--fsmn-vad/snapshots/abc"
    return [
        ({}, hub / "hub/iic" / HUB_NAME),
        ({}, hub / "hub/models/iic" / HUB_NAME),
        ({}, hub / f"models/iic--{HUB_NAME}/snapshots/master"),
        ({"MODELSCOPE_CACHE": str(cache)}, cache / "iic" / HUB_NAME),
        ({"MODELSCOPE_CACHE": str(cache)}, cache / "models/iic" / HUB_NAME),
        ({}, home / ".cache/huggingface/hub" / hugging),
        ({"HF_HOME": str(cache)}, cache / "hub" / hugging),
        ({"HF_HUB_CACHE": str(cache)}, cache / hugging),
    ]


@pytest.mark.parametrize("number", range(8))
def test_detector_is_found_in_the_usual_caches(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, place = places(tmp_path)[number]
    source = fsmn_vad.fsmn_vad()
    for name, value in {"HOME": str(tmp_path / "home"), **variables}.items():
        monkeypatch.setenv(name, value)
    model = tmp_path / "models/own"
    assert sensevoice_files.detector("fsmn-vad", model) is None
    place.parent.mkdir(parents=True)
    place.symlink_to(source)
    assert sensevoice_files.detector("fsmn-vad", model) == sensevoice_files.Detector(str(place))


def test_detector_beside_or_inside_the_model_takes_precedence(copy: Path) -> None:
    for place in (copy / "fsmn-vad", copy.parent / "fsmn-vad", copy.parent / HUB_NAME, copy / "my-vad"):
        place.symlink_to(fsmn_vad.fsmn_vad())
        name = "my-vad" if place.name == "my-vad" else "fsmn-vad"
        assert sensevoice_files.detector(name, copy) == sensevoice_files.Detector(str(place))
        place.unlink()


async def test_download_without_a_network_fails_at_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        monkeypatch.setenv("HOME", str(copy.parent))
        monkeypatch.setenv("MODELSCOPE_DOMAIN", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(sensevoice_files, "REACH_SECONDS", 1.0)
        started = time.monotonic()
        with pytest.raises(errors.EngineFailed) as caught:
            await opened(KIND, SEED, model_path=str(copy))
    assert time.monotonic() - started < PATIENCE
    text = str(caught.value)
    print(text)
    for words in ("no response in 1 s", "Connection refused", f"Searched: {copy}, {copy.parent}, ",
                  ".cache/modelscope", ".cache/huggingface/hub", f"modelscope download --model iic/{HUB_NAME}",
                  "silero-vad"):  # fmt: skip
        assert words in text


async def test_download_failure_has_the_reason(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Nothing) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setenv("HOME", str(copy.parent))
        monkeypatch.setenv("MODELSCOPE_DOMAIN", f"http://127.0.0.1:{hub.server_port}")
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        started = time.monotonic()
        with pytest.raises(errors.EngineFailed, match="could not download") as caught:
            await opened(KIND, {**SEED, "hub": "ms"}, model_path=str(copy))
        hub.shutdown()
    print(f"{caught.value}: after {time.monotonic() - started:.1f} s")
    assert "silero-vad" in caught.value.hint


# ---- what goes wrong in loading


async def test_open_refuses_damaged_weights(copy: Path) -> None:
    complete = (copy / "model.pt").read_bytes()
    (copy / "model.pt").write_bytes(complete[: len(complete) // 2])
    with pytest.raises(errors.EngineFailed, match="FunASR cannot load"):
        await opened(KIND, {}, model_path=str(copy))


async def test_open_refuses_weights_of_another_model(copy: Path) -> None:
    shutil.copy(fsmn_vad.fsmn_vad() / "model.pt", copy / "model.pt")
    with pytest.raises(errors.EngineFailed, match=r"lacks \d+ of \d+ weights") as caught:
        await opened(KIND, {}, model_path=str(copy))
    assert "Download" in caught.value.hint


async def test_open_refuses_weights_of_another_size(copy: Path) -> None:
    config = (copy / "config.yaml").read_text().replace("linear_units: 128", "linear_units: 96")
    (copy / "config.yaml").write_text(config)
    with pytest.raises(errors.EngineFailed, match="are damaged or inconsistent"):
        await opened(KIND, {}, model_path=str(copy))


async def test_open_refuses_a_missing_device(folder: Path) -> None:
    for name in ("cuda:0", "tpu"):
        with pytest.raises(errors.BadParameter, match=f"device is '{name}'"):
            await opened(KIND, {"device": name}, model_path=str(folder))
    with pytest.raises(errors.EngineFailed, match="has 1 GPUs"):
        await opened(KIND, {}, model_path=str(folder), gpus=1)


async def test_code_of_the_model_runs_only_when_it_is_trusted(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*importlib.import_module("sys").path])
    (copy / "model.py").write_text(f"open({str(copy / 'ran')!r}, 'w').close()\n")
    (copy / "requirements.txt").write_text("")
    await (await opened(KIND, {}, model_path=str(copy))).close()
    assert not (copy / "ran").exists()
    (copy / "requirements.txt").unlink()  # with it, pip would run
    await (await opened(KIND, {"trust_remote_code": "true"}, model_path=str(copy))).close()
    assert (copy / "ran").exists()

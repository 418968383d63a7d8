"""`saas/volcengine` against a strict Volcengine of ours, by both of its APIs."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
import wave
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.base import typed_params
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.saas.volcengine import schema
from byzer_magic.capabilities import Capability
from byzer_magic.types import SpeakRequest
from tests.backends import audio_of, opened, setup_of, speak, speak_failure, until_error
from tests.servers import audio_files
from tests.servers.process import Process, free_port, gone_after, last, noted_after, received
from tests.waiting import PATIENCE

APP = "6503259792"
HARD = '你好 🙂 a\u2028b "quoted" <b>&amp; 世界'
MODELS = {"v1": "volcano_tts", "v3": "seed-tts-2.0"}
BOTH = pytest.mark.parametrize("api", ["v1", "v3"])


@pytest.fixture(scope="module")
def server(key: str, serving: Callable[..., Process]) -> Process:
    return serving("volcengine", key)


async def connect(url: str, key: str, model: str = "volcano_tts", **params: str) -> Any:
    given = {"saas.base_url": url, "saas.api_key": key, "saas.model": model, "saas.app_id": APP}
    given |= {f"saas.{name}": value for name, value in params.items()}
    return await opened("saas/volcengine", {name: value for name, value in given.items() if value})


@pytest.fixture
async def backend(server: Process, key: str, api: str) -> AsyncIterator[Any]:
    backend = await connect(server.url, key, MODELS[api])
    yield backend
    await backend.close()


def spoken_text(entry: Any) -> str:
    body = entry["body"]
    text: str = body["req_params"]["text"] if "req_params" in body else body["request"]["text"]
    return text


# ---- audio


@BOTH
async def test_capabilities_are_speak_only(backend: Any) -> None:
    assert backend.capabilities() == {Capability.SPEAK}


@BOTH
async def test_speak_returns_one_file(backend: Any) -> None:
    found = await speak(backend, "Hello there.")
    assert {chunk.mime for chunk in found} == {"audio/mpeg"}
    assert b"".join(chunk.data for chunk in found) == audio_files.mp3("Hello there.")


@BOTH
@pytest.mark.parametrize(("fault", "mime"), [("as-wav", "audio/wav"), ("as-opus", "audio/ogg")])
@pytest.mark.parametrize("asked", ["mp3", "pcm", "wav"])
async def test_speak_has_the_type_of_its_bytes(backend: Any, fault: str, mime: str, asked: str) -> None:
    found = await speak(backend, f"fault:{fault} hi", response_format=asked)
    assert {chunk.mime for chunk in found} == {mime}


@pytest.mark.parametrize(("rate", "mime"), [(16000, "audio/pcm;rate=16000"), (24000, "audio/pcm")])
@BOTH
async def test_speak_of_raw_samples_has_their_rate(backend: Any, rate: int, mime: str) -> None:
    found = await speak(backend, "Hi.", response_format="pcm", sample_rate=rate)
    assert {chunk.mime for chunk in found} == {mime}


@pytest.mark.parametrize("api", ["v3"])
async def test_speak_streams_before_the_audio_is_complete(backend: Any) -> None:
    answer = backend.speak(SpeakRequest(text="fault:hang some words"))
    assert (await asyncio.wait_for(anext(answer), PATIENCE)).data
    await answer.aclose()


@BOTH
async def test_text_arrives_intact(server: Process, backend: Any, api: str) -> None:
    await audio_of(backend, HARD)
    assert spoken_text(last(server)) == HARD


@BOTH
async def test_surrogate_pairs_are_united(server: Process, backend: Any, api: str) -> None:
    await audio_of(backend, "a \ud83d\ude42 \ud800b")
    assert spoken_text(last(server)) == "a 🙂 b"


@BOTH
@pytest.mark.parametrize(
    ("form", "volcs", "mime", "start"),
    [
        ("mp3", "mp3", "audio/mpeg", b"\xff\xf3"),
        ("wav", "wav", "audio/wav", b"RIFF"),
        ("opus", "ogg_opus", "audio/ogg", b"OggS"),
        ("pcm", "pcm", "audio/pcm", b"\0\0"),
    ],
)
async def test_speak_returns_each_format(
    server: Process, backend: Any, api: str, form: str, volcs: str, mime: str, start: bytes
) -> None:
    found = await speak(backend, "Hi.", response_format=form)
    body = last(server)["body"]
    if api == "v1":
        assert body["audio"]["encoding"] == volcs
    else:
        assert body["req_params"]["audio_params"]["format"] == volcs.replace("wav", "pcm")
    assert {chunk.mime for chunk in found} == {mime}
    assert found[0].data.startswith(start)


@BOTH
@pytest.mark.parametrize("form", ["mp3", "wav"])
async def test_long_text_is_split_and_joined(server: Process, backend: Any, api: str, form: str) -> None:
    sentence = "这是一个句子。"  # 21 bytes
    number = received(server)
    data = await audio_of(backend, sentence * 100, response_format=form, sample_rate=16000)
    texts = [spoken_text(entry) for entry in noted_after(server, number)]
    assert "".join(texts) == sentence * 100
    assert len(texts) == 3
    assert all(len(text.encode()) <= 1024 and text.endswith("。") for text in texts)
    if form == "mp3":
        assert data == b"".join(audio_files.mp3(text) for text in texts)
    else:
        with wave.open(io.BytesIO(data)) as file:
            assert file.getframerate() == 16000
            assert file.getnframes() == sum(int(audio_files.seconds(text) * 16000) for text in texts)


# ---- requests


async def test_guide_command_is_sent_as_v1(server: Process, key: str) -> None:
    backend = await connect(server.url, key)
    await audio_of(backend, "Hi.")
    body = last(server)["body"]
    assert last(server)["path"] == "/api/v1/tts"
    assert body["app"] == {"appid": APP, "token": "access_token", "cluster": "volcano_tts"}
    assert body["audio"] == {"voice_type": "BV001_streaming", "encoding": "mp3", "rate": 24000}
    assert key not in str(body)
    await backend.close()


@pytest.mark.parametrize(
    ("given", "path", "resource"),
    [
        ({"model": ""}, "/api/v1/tts", None),
        ({"model": "odd-name", "cluster": "volcano_tts", "voice": "BV002_streaming"}, "/api/v1/tts", None),
        ({"model": "", "api": "v3"}, "/api/v3/tts/unidirectional", "seed-tts-2.0"),
        ({"model": "seed-tts-1.0"}, "/api/v3/tts/unidirectional", "seed-tts-1.0"),
        ({"model": "volc.service_type.10029"}, "/api/v3/tts/unidirectional", "volc.service_type.10029"),
        ({"model": "seed-icl-2.0", "voice": "S_mine"}, "/api/v3/tts/unidirectional", "seed-icl-2.0"),
        ({"model": "seed-tts-2.0", "app_id": ""}, "/api/v3/tts/unidirectional", "seed-tts-2.0"),
    ],
)
async def test_model_selects_the_api(
    server: Process, key: str, given: dict[str, str], path: str, resource: str | None
) -> None:
    backend = await connect(server.url, key, **given)
    assert await audio_of(backend, "Hi.")
    assert (last(server)["path"], last(server).get("resource")) == (path, resource)
    await backend.close()


async def test_v1_request_has_all_options(server: Process, key: str) -> None:
    body = '{"audio": {"compression_rate": 2}}'
    backend = await connect(server.url, key, speed_ratio="0.2", volume="2", emotion="happy", extra_body=body)
    options = {"speed": 1.5, "pitch": 0.9, "language": "en", "voice": "BV701_streaming", "user": None}
    await audio_of(backend, "Hi.", **options, extra_body={"audio": {"rate": 8000}})
    assert last(server)["body"]["audio"] == {
        "voice_type": "BV701_streaming",
        "encoding": "mp3",
        "rate": 8000,
        "speed_ratio": 1.5,
        "volume_ratio": 2.0,
        "pitch_ratio": 0.9,
        "emotion": "happy",
        "language": "en",
        "compression_rate": 2,
    }
    await backend.close()


@pytest.mark.parametrize("api", ["v1"])
async def test_v1_request_for_large_voices_has_other_names(server: Process, backend: Any) -> None:
    await audio_of(
        backend, "Hi.", voice="zh_male_M392_conversation_wvae_bigtts", volume=2, emotion="sad", language="en"
    )
    audio = last(server)["body"]["audio"]
    assert (audio["loudness_ratio"], audio["enable_emotion"], audio["explicit_language"]) == (2.0, True, "en")


@pytest.mark.parametrize("api", ["v3"])
async def test_v3_request_has_all_options(server: Process, backend: Any) -> None:
    options = {"speed": 2, "volume": 0.5, "pitch": 0.5, "emotion": "happy", "sample_rate": 16000}
    other = {"language": "ja", "instructions": "Be merry.", "response_format": "pcm"}
    extra = {"req_params": {"additions": {"disable_markdown_filter": True}}}
    await audio_of(backend, "Hi.", **options, **other, extra_body=extra)
    asked = last(server)["body"]["req_params"]
    assert asked["speaker"] == "zh_female_vv_uranus_bigtts"
    assert asked["audio_params"] == {
        "format": "pcm",
        "sample_rate": 16000,
        "speech_rate": 100,
        "loudness_rate": -50,
        "emotion": "happy",
    }
    assert json.loads(asked["additions"]) == {
        "explicit_language": "ja",
        "context_texts": ["Be merry."],
        "post_process": {"pitch": -12},
        "disable_markdown_filter": True,
    }


@BOTH
async def test_ssml_is_sent_unchanged(server: Process, backend: Any, api: str) -> None:
    ssml = "<speak>" + "你好<break time='1s'/>" * 20 + "</speak>"
    await audio_of(backend, f" {ssml}\n")
    body = last(server)["body"]
    if api == "v1":
        assert (body["request"]["text_type"], body["request"]["text"]) == ("ssml", ssml)
    else:
        assert body["req_params"]["ssml"] == ssml
        assert "text" not in body["req_params"]


@BOTH
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 5}, "speed is 5, which is not in"),
        ({"volume": "loud"}, "volume is 'loud'"),
        ({"sample_rate": "high"}, "sample_rate is 'high'"),
        ({"response_format": "flac"}, "does not support the encoding 'flac'"),
        ({"response_format": ["mp3"]}, "does not support the encoding"),
        ({"tone": "merry"}, "no option 'tone'"),
    ],
)
async def test_invalid_options_raise_bad_request(backend: Any, api: str, options: dict[str, Any], words: str) -> None:
    error = await speak_failure(backend, "Hi", **options)
    assert type(error) is errors.BadRequest
    assert words in error.message
    assert error.hint


@pytest.mark.parametrize("api", ["v1"])
async def test_instructions_are_rejected_by_v1(backend: Any) -> None:
    assert (
        "v1 API does not accept instructions" in (await speak_failure(backend, "Hi", instructions="Be merry.")).message
    )


async def test_cloned_voices_have_no_default(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "seed-icl-2.0")
    assert "seed-icl-2.0 has no default voice" in (await speak_failure(backend, "Hi")).message
    await backend.close()


@BOTH
async def test_empty_text_raises_bad_request(backend: Any, api: str) -> None:
    assert "text to speak is empty" in (await speak_failure(backend, " \n")).message


# ---- failures

REFUSALS = [
    ("fault:401", errors.AuthenticationFailed, "invalid API key (401)", 401),
    ("fault:403", errors.AuthenticationFailed, "denied (403)", 403),
    ("fault:404", errors.ModelNotFound, "not found (404)", 404),
    ("fault:context", errors.ContextTooLong, "(413)", 413),
    ("fault:429", errors.RateLimited, "(429): quota exceeded for types: concurrency", 429),
    ("fault:quota", errors.RateLimited, "(429)", 429),
    ("fault:500", errors.ProviderUnavailable, "(500)", 500),
    ("fault:529", errors.ProviderUnavailable, "(50", None),
    ("fault:busy", errors.ProviderUnavailable, "(50", None),
    ("fault:refuse", errors.ProviderUnavailable, "connection closed before", None),
    ("fault:html", errors.ProviderUnavailable, "unreadable response", None),
    ("fault:empty", errors.ProviderUnavailable, "it has no audio", None),
    ("fault:leak", errors.AuthenticationFailed, "***", 401),
    ("。。。", errors.BadRequest, "rejected (400)", 400),
]


@BOTH
@pytest.mark.parametrize(("text", "kind", "words", "status"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_error_responses_become_our_errors(
    backend: Any, key: str, api: str, text: str, kind: type[Exception], words: str, status: int | None
) -> None:
    error = await speak_failure(backend, text)
    assert type(error) is kind
    assert words in error.message
    assert error.hint
    assert status is None or error.details["status"] == status
    assert key not in f"{error} {error!r} {error.details}"


@BOTH
async def test_exceeded_quota_is_final(backend: Any, api: str) -> None:
    assert (await speak_failure(backend, "fault:quota")).details["final"] is True
    assert "final" not in (await speak_failure(backend, "fault:429")).details


@pytest.mark.parametrize("api", ["v1"])
async def test_v1_error_details_have_logid_and_code(backend: Any) -> None:
    error = await speak_failure(backend, "fault:429")
    assert {"request_id": "l-1", "provider_code": "3003"}.items() <= error.details.items()


@pytest.mark.parametrize("api", ["v3"])
async def test_voice_of_another_resource_raises_model_not_found(backend: Any) -> None:
    error = await speak_failure(backend, "Hi", voice="zh_female_shuangkuaisisi_moon_bigtts")
    assert type(error) is errors.ModelNotFound
    assert "saas.voice" in error.hint


IN_STREAM = [
    ("fault:truncate", errors.StreamTruncated, "stream from seed-tts-2.0 ended before"),
    ("fault:error", errors.ProviderUnavailable, "(500): Service internal error"),
    ("fault:garbage", errors.ProviderUnavailable, "unreadable response"),
    ("fault:reset", errors.ProviderUnavailable, "connection closed"),
]


@pytest.mark.parametrize("api", ["v3"])
@pytest.mark.parametrize(("text", "kind", "words"), IN_STREAM, ids=[row[0] for row in IN_STREAM])
async def test_stream_keeps_audio_before_an_error(backend: Any, text: str, kind: type[Exception], words: str) -> None:
    seen, error = await until_error(backend.speak(SpeakRequest(text=text + " some words")))
    assert type(error) is kind
    assert words in error.message
    heard = b"".join(chunk.data for chunk in seen)
    assert heard == audio_files.mp3(text + " some words")[: len(heard)] != b"", (
        "what came before the fault is passed on"
    )


@pytest.mark.parametrize("api", ["v1"])
@pytest.mark.parametrize("fault", ["truncate", "reset", "garbage"])
async def test_broken_v1_responses_raise_provider_unavailable(backend: Any, fault: str) -> None:
    assert type(await speak_failure(backend, f"fault:{fault} some words")) is errors.ProviderUnavailable


@pytest.mark.parametrize("api", ["v3"])
async def test_body_without_end_does_not_delay(backend: Any) -> None:
    assert await audio_of(backend, "fault:late words") == audio_files.mp3("fault:late words")


@BOTH
async def test_wrong_key_hint_names_the_app(server: Process, api: str) -> None:
    wrong = "volc-wrong-abcdefgh0123456789"
    backend = await connect(server.url, wrong, MODELS[api])
    error = await speak_failure(backend, "Hi")
    assert type(error) is errors.AuthenticationFailed
    assert "saas.app_id" in error.hint
    assert wrong[:8] not in f"{error} {error.details}"
    await backend.close()


@BOTH
async def test_timeout_raises_deadline_exceeded(server: Process, key: str, api: str) -> None:
    backend = await connect(server.url, key, MODELS[api], timeout="0.3")
    assert type(await speak_failure(backend, "fault:silence")) is errors.DeadlineExceeded
    assert type(await speak_failure(backend, "fault:hang some words")) is errors.DeadlineExceeded
    await backend.close()


@BOTH
async def test_closed_port_raises_provider_unavailable(key: str, api: str) -> None:
    port = free_port()
    backend = await connect(f"http://127.0.0.1:{port}", key, MODELS[api])
    assert f"Cannot connect to http://127.0.0.1:{port}" in (await speak_failure(backend, "Hi")).message
    await backend.close()


@pytest.mark.parametrize("api", ["v3"])
async def test_closing_closes_the_connection(server: Process, backend: Any) -> None:
    answer = backend.speak(SpeakRequest(text="fault:hang gone"))
    assert (await anext(answer)).data
    started = time.time()
    await answer.aclose()
    assert await gone_after(server, started) >= 0


@BOTH
async def test_cancelling_closes_the_connection(server: Process, backend: Any, api: str) -> None:
    task = asyncio.create_task(speak(backend, f"fault:silence cancelled {api}"))
    while f"cancelled {api}" not in str(last(server)):
        await asyncio.sleep(0.01)
    started = time.time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone_after(server, started) >= 0


# ---- settings


@pytest.mark.parametrize(
    ("params", "kind", "words"),
    [
        ({}, errors.MissingKey, "needs saas.app_id"),
        ({"model": "seed-tts-2.0", "speed": "3"}, errors.BadParameter, "saas.speed is 3.0, which is not in 0.5..2"),
        ({"app_id": "1", "speed": "4"}, errors.BadParameter, "saas.speed is 4.0, which is not in 0.2..3"),
        ({"app_id": "1", "encoding": "flac"}, errors.BadParameter, "does not support the encoding 'flac'"),
        ({"app_id": "1", "api": "v2"}, errors.BadParameter, "not one of auto, v1, v3"),
        ({"app_id": "1", "base_url": "host"}, errors.BadParameter, "is not a URL"),
    ],
)
def test_check_rejects_invalid_parameters(params: dict[str, str], kind: type[Exception], words: str) -> None:
    given = {"saas.api_key": "k", **{f"saas.{name}": value for name, value in params.items()}}
    with pytest.raises(kind, match=re.escape(words)):
        setup_of(registry.find("saas/volcengine"), given)


@pytest.mark.parametrize("prefix", ["VOLC_TTS", "VOLCENGINE_TTS"])
def test_environment_variables_fill_parameters(prefix: str) -> None:
    environ = {f"{prefix}_TOKEN": "k-123", f"{prefix}_APP_ID": "42"}
    found = typed_params(registry.find("saas/volcengine").info, {}, environ)
    assert (found["saas.api_key"].reveal(), found["saas.app_id"]) == ("k-123", "42")


def test_older_parameter_names_are_accepted() -> None:
    given = {
        "saas.access_token": "k",
        "saas.appid": "1",
        "saas.voice_type": "BV002_streaming",
        "saas.api_base": "http://h",
    }
    found = typed_params(registry.find("saas/volcengine").info, given, {})
    assert (found["saas.app_id"], found["saas.voice"], found["saas.base_url"]) == ("1", "BV002_streaming", "http://h")


@pytest.mark.parametrize("data", ["YWJj", "YW\nJj\r\n", "data:audio/mpeg;base64,YWJj"])
def test_audio_is_base64_of_any_form(data: str) -> None:
    body = json.dumps({"code": "3000", "data": data}).encode()
    assert schema.read(body, Endpoint("m", "https://h"), {}) == (3000, b"abc")


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'{"code": []}', b'{"code": 3000, "data": 5}', b"{"])
def test_odd_bodies_are_errors_without_names_of_ours(body: bytes) -> None:
    with pytest.raises(errors.ProviderError) as caught:
        schema.read(body, Endpoint("m", "https://h"), {})
    assert "Error:" not in caught.value.message
    assert "NoneType" not in caught.value.message

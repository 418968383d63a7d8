"""`saas/azure` against a strict Azure Speech of ours."""

from __future__ import annotations

import asyncio
import io
import re
import time
import wave
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.base import typed_params
from byzer_magic.backends.saas import azure
from byzer_magic.capabilities import Capability
from byzer_magic.types import AudioChunk, SpeakRequest
from tests.backends import audio_of, opened, setup_of, speak, speak_failure, until_error
from tests.servers import audio_files
from tests.servers.process import Process, free_port, gone_after, last, noted_after, received
from tests.waiting import PATIENCE

HARD = "你好 🙂 a\u2028b <b>&amp; \"quoted\" 'too' ]]> 世界"


@pytest.fixture(scope="module")
def server(key: str, serving: Callable[..., Process]) -> Process:
    return serving("azure_speech", key)


async def connect(url: str, key: str, **params: str) -> Any:
    given = {"saas.base_url": url, "saas.api_key": key}
    return await opened("saas/azure", given | {f"saas.{name}": value for name, value in params.items()})


@pytest.fixture
async def backend(server: Process, key: str) -> AsyncIterator[Any]:
    backend = await connect(server.url, key)
    yield backend
    await backend.close()


# ---- audio


async def test_capabilities_are_speak_only(backend: Any) -> None:
    assert backend.capabilities() == {Capability.SPEAK}


async def test_speak_chunks_join_to_one_file(backend: Any) -> None:
    found = await speak(backend, "Hello there.")
    assert len(found) > 1
    assert {chunk.mime for chunk in found} == {"audio/mpeg"}
    assert b"".join(chunk.data for chunk in found) == audio_files.mp3("Hello there.")


@pytest.mark.parametrize(("fault", "mime"), [("as-wav", "audio/wav"), ("as-opus", "audio/ogg")])
@pytest.mark.parametrize("asked", ["mp3", "pcm", "wav"])
async def test_speak_has_the_type_of_its_bytes(backend: Any, fault: str, mime: str, asked: str) -> None:
    found = await speak(backend, f"fault:{fault} hi", response_format=asked)
    assert {chunk.mime for chunk in found} == {mime}


@pytest.mark.parametrize(("rate", "mime"), [("16khz", "audio/pcm;rate=16000"), ("24khz", "audio/pcm")])
async def test_speak_of_raw_samples_has_their_rate(backend: Any, rate: str, mime: str) -> None:
    found = await speak(backend, "Hi.", response_format=f"raw-{rate}-16bit-mono-pcm")
    assert {chunk.mime for chunk in found} == {mime}


async def test_speak_streams_before_the_audio_is_complete(backend: Any) -> None:
    async def first() -> AudioChunk:
        async for chunk in backend.speak(SpeakRequest(text="fault:hang some words")):
            return chunk
        raise AssertionError

    found = await asyncio.wait_for(first(), PATIENCE)
    assert found.data


@pytest.mark.parametrize(
    ("form", "azures", "mime", "start"),
    [
        ("mp3", "audio-48khz-192kbitrate-mono-mp3", "audio/mpeg", b"\xff\xf3"),
        ("wav", "riff-24khz-16bit-mono-pcm", "audio/wav", b"RIFF"),
        ("opus", "ogg-48khz-16bit-mono-opus", "audio/ogg", b"OggS"),
        ("pcm", "raw-24khz-16bit-mono-pcm", "audio/pcm", b"\0\0"),
        ("webm-24khz-16bit-mono-opus", "webm-24khz-16bit-mono-opus", "audio/webm", b""),
    ],
)
async def test_speak_returns_each_format(
    server: Process, backend: Any, form: str, azures: str, mime: str, start: bytes
) -> None:
    found = await speak(backend, "Hi.", response_format=form)
    assert last(server)["headers"]["x-microsoft-outputformat"] == azures
    assert {chunk.mime for chunk in found} == {mime}
    assert found[0].data.startswith(start)


async def test_deployment_sets_format_and_voice(server: Process, key: str) -> None:
    format_ = "riff-16khz-16bit-mono-pcm"
    backend = await connect(server.url, key, output_format=format_, voice="zh-CN-YunxiNeural", rate="slow")
    data = await audio_of(backend, "Hi.")
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnframes()) == (16000, int(audio_files.seconds("Hi.") * 16000))
    assert 'name="zh-CN-YunxiNeural"' in last(server)["ssml"]
    assert '<prosody rate="slow">Hi.</prosody>' in last(server)["ssml"]
    await backend.close()


@pytest.mark.parametrize("form", ["mp3", "wav"])
async def test_long_text_is_split_and_joined(server: Process, backend: Any, form: str) -> None:
    sentence = "这是一个句子。"
    number = received(server)
    data = await audio_of(backend, sentence * 600, response_format=form)
    texts = [entry["text"] for entry in noted_after(server, number)]
    assert "".join(texts) == sentence * 600
    assert len(texts) == 3
    assert all(len(text) <= 2000 and text.endswith("。") for text in texts)
    if form == "mp3":
        assert data == b"".join(audio_files.mp3(text) for text in texts)
    else:
        with wave.open(io.BytesIO(data)) as file:
            assert file.getnframes() == sum(int(audio_files.seconds(text) * 24000) for text in texts)


async def test_slow_rate_splits_into_shorter_parts(server: Process, backend: Any) -> None:
    await audio_of(backend, "这是一个句子。" * 200, speed=0.5)
    assert len(last(server)["text"]) <= 1000


# ---- SSML


async def test_text_arrives_intact(server: Process, backend: Any) -> None:
    await audio_of(backend, HARD)
    assert last(server)["text"] == HARD


async def test_forbidden_xml_characters_are_dropped(server: Process, backend: Any) -> None:
    await audio_of(backend, "a\x00b\x0bc \ud83d\ude42 \ud800d\ufffe\tx")
    assert last(server)["text"] == "ab c 🙂 d\tx"


async def test_options_become_ssml(server: Process, backend: Any) -> None:
    options = {"voice": "en-US-AvaMultilingualNeural", "language": "fr-FR", "speed": 1.25, "pitch": "+5%", "volume": 80}
    await audio_of(backend, "Salut", **options, style="cheerful", styledegree=1.5, role="Girl", instructions=None)
    assert last(server)["ssml"] == (
        '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
        'xmlns:mstts="https://www.w3.org/2001/mstts" xml:lang="fr-FR"><voice name="en-US-AvaMultilingualNeural">'
        '<mstts:express-as style="cheerful" styledegree="1.5" role="Girl"><lang xml:lang="fr-FR">'
        '<prosody rate="1.25" pitch="+5%" volume="80">Salut</prosody></lang></mstts:express-as></voice></speak>'
    )


async def test_default_voice_sets_language(server: Process, backend: Any) -> None:
    await audio_of(backend, "你好")
    assert 'xml:lang="zh-CN"><voice name="zh-CN-XiaoxiaoNeural">你好</voice>' in last(server)["ssml"]


async def test_option_values_are_escaped(server: Process, backend: Any) -> None:
    error = await speak_failure(backend, "Hi", voice='x"/><voice name="zh-CN-XiaoxiaoNeural')
    assert type(error) is errors.BadRequest
    assert last(server)["why"] == "unknown voice"


async def test_ssml_is_sent_unchanged(server: Process, backend: Any) -> None:
    ssml = (
        "<speak version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xml:lang='zh-CN'>"
        "<voice name='zh-CN-YunxiNeural'>你好<break time='1s'/>世界</voice></speak>"
    )
    await audio_of(backend, f"\n<?xml version='1.0'?>{ssml}\n", voice="ignored")
    assert last(server)["ssml"] == f"<?xml version='1.0'?>{ssml}"


async def test_text_that_only_begins_like_ssml_is_escaped(server: Process, backend: Any) -> None:
    await audio_of(backend, "<speak> is an element")
    assert last(server)["text"] == "<speak> is an element"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 5}, "speed is 5, which is not in 0.5..2"),
        ({"speed": "fast"}, "speed is 'fast'"),
        ({"response_format": "flac"}, "does not support the audio format 'flac'"),
        ({"instructions": "be merry"}, "no option 'instructions'"),
        ({"tone": "merry"}, "no option 'tone'"),
    ],
)
async def test_invalid_options_raise_bad_request(backend: Any, options: dict[str, Any], words: str) -> None:
    error = await speak_failure(backend, "Hi", **options)
    assert type(error) is errors.BadRequest
    assert words in error.message
    assert error.hint


async def test_empty_text_raises_bad_request(backend: Any) -> None:
    assert "text to speak is empty" in (await speak_failure(backend, " \x00\n")).message


# ---- failures

REFUSALS = [
    ("fault:401", errors.AuthenticationFailed, "invalid API key (401): the key is wrong, or it belongs to another"),
    ("fault:403", errors.AuthenticationFailed, "denied (403)"),
    ("fault:404", errors.ModelNotFound, "no speech service at this URL"),
    ("fault:context", errors.ContextTooLong, "(413): the text is too long"),
    ("fault:400", errors.BadRequest, "(400): the SSML is not well-formed, or the voice, style or format"),
    ("fault:415", errors.BadRequest, "(415): only application/ssml+xml is accepted"),
    ("fault:429 retry_after=3", errors.RateLimited, "(429): the quota or the request rate"),
    ("fault:500", errors.ProviderUnavailable, "(500)"),
    ("fault:502", errors.ProviderUnavailable, "(502): the gateway failed"),
    ("fault:529", errors.ProviderUnavailable, "(503): the service failed"),
    ("fault:refuse", errors.ProviderUnavailable, "connection closed before Azure Speech finished"),
    ("fault:garbage", errors.ProviderUnavailable, "unreadable response from Azure Speech: Hello"),
    ("fault:html", errors.ProviderUnavailable, "unreadable response from Azure Speech: Hello"),
    ("fault:empty", errors.ProviderUnavailable, "the response has no audio"),
    ("fault:leak", errors.AuthenticationFailed, "Access denied with key ***"),
]


@pytest.mark.parametrize(("text", "kind", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_error_responses_become_our_errors(
    backend: Any, key: str, text: str, kind: type[Exception], words: str
) -> None:
    error = await speak_failure(backend, text)
    assert type(error) is kind
    assert words in error.message
    assert error.hint
    assert key not in f"{error} {error!r} {error.details}"


async def test_error_details_have_status_retry_after_and_request_id(backend: Any) -> None:
    error = await speak_failure(backend, "fault:429 retry_after=3")
    assert {"status": 429, "retry_after": 3.0, "request_id": "r-1"}.items() <= error.details.items()


@pytest.mark.parametrize("fault", ["truncate", "reset"])
async def test_stream_keeps_audio_before_an_error(backend: Any, fault: str) -> None:
    seen, error = await until_error(backend.speak(SpeakRequest(text=f"fault:{fault} some words")))
    assert type(error) is errors.ProviderUnavailable
    assert "connection closed" in error.message
    heard = b"".join(chunk.data for chunk in seen)
    assert heard == audio_files.mp3(f"fault:{fault} some words")[: len(heard)] != b""


async def test_wrong_key_hint_names_the_region(server: Process) -> None:
    wrong = "azure-wrong-abcdefgh0123456789"
    backend = await connect(server.url, wrong)
    error = await speak_failure(backend, "Hi")
    assert type(error) is errors.AuthenticationFailed
    assert "region" in error.hint
    assert wrong[:8] not in f"{error} {error.details}"
    await backend.close()


async def test_timeout_raises_deadline_exceeded(server: Process, key: str) -> None:
    backend = await connect(server.url, key, timeout="0.3")
    assert type(await speak_failure(backend, "fault:silence")) is errors.DeadlineExceeded
    assert type(await speak_failure(backend, "fault:hang some words")) is errors.DeadlineExceeded
    await backend.close()


async def test_closed_port_raises_provider_unavailable(key: str) -> None:
    port = free_port()
    backend = await connect(f"http://127.0.0.1:{port}", key)
    error = await speak_failure(backend, "Hi")
    assert f"Cannot connect to http://127.0.0.1:{port}/cognitiveservices/v1" in error.message
    await backend.close()


async def test_closing_closes_the_connection(server: Process, backend: Any) -> None:
    answer = backend.speak(SpeakRequest(text="fault:hang gone"))
    assert (await anext(answer)).data
    started = time.time()
    await answer.aclose()
    assert await gone_after(server, started) >= 0


# ---- settings


@pytest.mark.parametrize(
    ("params", "url"),
    [
        ({"service_region": "eastus"}, "https://eastus.tts.speech.microsoft.com/cognitiveservices/v1"),
        ({"service_region": "East US 2"}, "https://eastus2.tts.speech.microsoft.com/cognitiveservices/v1"),
        ({"service_region": "chinaeast2"}, "https://chinaeast2.tts.speech.azure.cn/cognitiveservices/v1"),
        ({"service_region": "usgovvirginia"}, "https://usgovvirginia.tts.speech.azure.us/cognitiveservices/v1"),
        (
            {"service_region": "eastus", "deployment_id": "d1"},
            "https://eastus.voice.speech.microsoft.com/cognitiveservices/v1?deploymentId=d1",
        ),
        ({"base_url": "http://host:1/"}, "http://host:1/cognitiveservices/v1"),
        (
            {"base_url": "http://host/cognitiveservices/v1?deploymentId=d"},
            "http://host/cognitiveservices/v1?deploymentId=d",
        ),
        (
            {"base_url": "https://me.cognitiveservices.azure.com/"},
            "https://me.cognitiveservices.azure.com/tts/cognitiveservices/v1",
        ),
    ],
)
def test_url_follows_region_cloud_and_custom_voice(params: dict[str, str], url: str) -> None:
    given = {"saas.api_key": "k", **{f"saas.{name}": value for name, value in params.items()}}
    assert azure._url(setup_of(registry.find("saas/azure"), given).params) == url


@pytest.mark.parametrize(
    ("params", "kind", "words"),
    [
        ({}, errors.MissingKey, "needs saas.service_region"),
        ({"service_region": "east/us"}, errors.BadParameter, "saas.service_region is 'east/us'"),
        (
            {"service_region": "eastus", "output_format": "flac"},
            errors.BadParameter,
            "does not support the audio format 'flac'",
        ),
        ({"base_url": "https://eastus.api.cognitive.microsoft.com/"}, errors.BadParameter, "the token service"),
        ({"base_url": "eastus"}, errors.BadParameter, "is not a URL"),
    ],
)
def test_check_rejects_invalid_parameters(params: dict[str, str], kind: type[Exception], words: str) -> None:
    given = {"saas.api_key": "k", **{f"saas.{name}": value for name, value in params.items()}}
    with pytest.raises(kind, match=re.escape(words)):
        setup_of(registry.find("saas/azure"), given)


@pytest.mark.parametrize("prefix", ["AZURE_SPEECH", "SPEECH"])
def test_environment_variables_fill_parameters(prefix: str) -> None:
    found = typed_params(
        registry.find("saas/azure").info, {}, {f"{prefix}_KEY": "k-123", f"{prefix}_REGION": "westeurope"}
    )
    assert (found["saas.api_key"].reveal(), found["saas.service_region"]) == ("k-123", "westeurope")

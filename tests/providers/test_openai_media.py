"""The OpenAI API beyond chat, through the real SDK: embeddings, rerank, transcription, speech, images, vision."""

from __future__ import annotations

import asyncio
import io
import warnings
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzer_magic import errors, request_ids
from byzer_magic.backends import registry
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse
from byzer_magic.backends.openai import bodies
from byzer_magic.backends.openai.backend import OpenAIBackend
from byzer_magic.capabilities import Capability
from byzer_magic.client.collect import collector_for
from byzer_magic.media import formats, mime_of
from byzer_magic.media.wav import write
from byzer_magic.types import (
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Media,
    Message,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)
from tests.backends import opened
from tests.conftest import KEY
from tests.engines.audio_files import made
from tests.servers.audio_files import wav
from tests.servers.process import Process, last, noted_after, received
from tests.waiting import happens

PNG = b"\x89PNG\r\n\x1a\n1234"
WAV = wav("a second or so of a tone, to be written down", 16000)


@pytest.fixture(scope="module")
def server(serving: Callable[..., Process]) -> Process:
    return serving("openai_api", KEY)


async def connect(server: Process, model: str, **params: str) -> Any:
    given = {"base_url": f"{server.url}/v1", "api_key": KEY, "model": model} | params
    return await opened("saas/openai", {f"saas.{name}": value for name, value in given.items()})


class Models:
    """Backends by model name, each opened once."""

    def __init__(self, server: Process) -> None:
        self._server = server
        self.open: dict[str, Any] = {}

    async def ask(self, model: str, request: Request) -> Any:
        """Return the complete response of a model."""
        if model not in self.open:
            self.open[model] = await connect(self._server, model)
        collector = collector_for(model, request)
        async for item in self.open[model].ask(_capability(request), request):
            collector.add(item)
        return collector.result()


def _capability(request: Request) -> Capability:
    from byzer_magic.capabilities import method_for

    return method_for(request)


@pytest.fixture
async def models(server: Process) -> AsyncIterator[Models]:
    found = Models(server)
    yield found
    for backend in found.open.values():
        await backend.close()


# ---- texts


async def test_embed_returns_batches_in_order(models: Models, server: Process) -> None:
    texts = [f"text {number}" for number in range(2 * OpenAIBackend.EMBED_BATCH + 7)]
    before = received(server)
    result = await models.ask("text-embedding-3-small", EmbedRequest(texts=texts))
    assert result.vectors.shape == (len(texts), 8)
    assert received(server) - before == 3
    one = await models.ask("text-embedding-3-small", EmbedRequest(texts=[texts[300]]))
    assert np.array_equal(result.vectors[300], one.vectors[0])
    assert result.usage.prompt_tokens == len(texts)


async def test_dimensions_are_passed_on(models: Models) -> None:
    result = await models.ask("text-embedding-3-small", EmbedRequest(texts=["a"], options={"dimensions": 3}))
    assert result.vectors.shape == (1, 3)


async def test_rejected_base64_encoding_is_left_out(models: Models) -> None:
    packed = await models.ask("text-embedding-3-small", EmbedRequest(texts=["a", "b"]))
    plain = await models.ask("embedding-floats", EmbedRequest(texts=["a", "b"]))
    assert np.allclose(packed.vectors, plain.vectors)


async def test_embed_with_missing_vectors_is_unreadable(models: Models) -> None:
    with pytest.raises(errors.ProviderUnavailable, match="1 embeddings for 2 texts"):
        await models.ask("text-embedding-3-small", EmbedRequest(texts=["fault:short", "b"]))


async def test_rerank_orders_documents(models: Models) -> None:
    documents = ["nothing here", "the sky is blue", "blue"]
    request = RerankRequest(query="blue sky", documents=documents, options={"top_n": 2})
    result = await models.ask("bge-reranker-v2-m3", request)
    assert result.documents == ["the sky is blue", "blue"]
    assert result.order == [(1, 1.0), (2, 0.5)]


# ---- audio


@pytest.mark.parametrize(
    ("data", "mime", "text"),
    [
        (b"{laughs} hello", "text/plain", "{laughs} hello"),
        ("\u4f60\u597d\u4e16\u754c".encode("gbk"), "text/plain", "\u4f60\u597d\u4e16\u754c"),
        (b'{"segments":[{"start":0,"end":1,"text":" Hi"},{"start":1,"end":2,"text":" you"}]}', "application/json",
         "Hi you"),
        (b'data: {"delta":"Hi"}\n\ndata: {"text":"Hi you"}\n\n', "text/event-stream", "Hi you"),
        (b'data: {"delta":"Hi "}\n\ndata: {"delta":"you"}\n\ndata: [DONE]\n\n', "text/event-stream", "Hi you"),
    ],
)  # fmt: skip
def test_transcripts_of_any_form_are_read(data: bytes, mime: str, text: str) -> None:
    assert bodies.transcript(data, mime, Endpoint("m", "https://h")).text == text


@pytest.mark.parametrize("data", [b'{"a":1}', b'data: {"error":{"message":"no"}}\n\n', b"data: [DONE]\n\n"])
def test_bodies_without_a_transcript_are_errors(data: bytes) -> None:
    with pytest.raises(ErrorResponse):
        bodies.transcript(data, "text/event-stream", Endpoint("m", "https://h"))


@pytest.mark.parametrize("kind", ["json", "text", "verbose_json", "srt", "vtt"])
async def test_transcribe_reads_each_response_format(models: Models, kind: str) -> None:
    options = {"response_format": kind, "language": "en", "prompt": "names"}
    result = await models.ask("whisper-1", TranscribeRequest(audio=Media("audio/wav", WAV), options=options))
    assert f"{len(WAV)} bytes of audio.wav in en: names" in result.text
    assert bool(result.segments) == (kind == "verbose_json")
    if kind == "verbose_json":
        assert result.segments[0].end == result.duration > 0.5


async def test_id_of_the_request_goes_with_uploads_unless_the_user_has_set_one(models: Models, server: Process) -> None:
    request_ids.CURRENT.set("req_planted-8")
    audio = Media("audio/wav", WAV)
    await models.ask("whisper-1", TranscribeRequest(audio=audio))
    assert last(server)["request_id"] == "req_planted-8"
    await models.open.pop("whisper-1").close()
    models.open["whisper-1"] = await connect(server, "whisper-1", extra_headers='{"X-Request-ID": "mine"}')
    await models.ask("whisper-1", TranscribeRequest(audio=audio))
    assert last(server)["request_id"] == "mine"


@pytest.mark.parametrize(("mime", "name"), [("audio/mpeg", "mp3"), ("audio/mp4", "m4a"), ("audio/flac", "flac")])
async def test_transcribe_names_the_file_by_its_type(models: Models, mime: str, name: str) -> None:
    result = await models.ask("whisper-1", TranscribeRequest(audio=Media(mime, b"1234")))
    assert f"4 bytes of audio.{name}" in result.text


async def test_speak_streams_chunks(models: Models, server: Process) -> None:
    result = await models.ask("tts-1", SpeakRequest(text="Hello. " * 50, options={"voice": "nova", "speed": 1.1}))
    assert (result.mime, mime_of(result.data)) == ("audio/mpeg", "audio/mpeg")
    assert last(server)["body"] | {"voice": "nova", "speed": 1.1, "response_format": "mp3"} == last(server)["body"]
    chunks = [item async for item in models.open["tts-1"].speak(SpeakRequest(text="Hello. " * 50))]
    assert len(chunks) > 1


async def test_long_text_is_split_and_joined(models: Models, server: Process) -> None:
    sentence = "A sentence of some length. "
    before = received(server)
    long = await models.ask("tts-1", SpeakRequest(text=sentence * 400, options={"response_format": "wav"}))
    assert received(server) - before == 3
    short = await models.ask("tts-1", SpeakRequest(text=sentence * 100, options={"response_format": "wav"}))
    with wave.open(io.BytesIO(long.data)) as one, wave.open(io.BytesIO(short.data)) as other:
        assert one.getnframes() / other.getnframes() == pytest.approx(4, rel=0.02)
    joined = await models.ask("tts-1", SpeakRequest(text=sentence * 400))
    assert joined.data.count(b"\xff\xf3") > 1000


@pytest.mark.parametrize(
    ("fault", "mime"),
    [
        ("wav-as-mp3", "audio/wav"),
        ("wav-as-json", "audio/wav"),
        ("mp3-as-wav", "audio/mpeg"),
        ("opus-as-bytes", "audio/ogg"),
    ],
)
@pytest.mark.parametrize("asked", ["mp3", "pcm", "wav"])
async def test_speech_has_the_type_of_its_bytes(
    models: Models, tmp_path: Path, fault: str, mime: str, asked: str
) -> None:
    request = SpeakRequest(text=f"fault:{fault} hi", options={"response_format": asked})
    result = await models.ask("tts-1", request)
    assert result.mime == mime
    with warnings.catch_warnings(action="ignore"):
        saved = result.save(tmp_path / f"x.{asked}")
    assert formats.mime_of_name(saved) == mime
    assert saved.read_bytes() == result.data
    shown = result._repr_mimebundle_()["text/html"]
    assert f"data:{mime};base64," in shown
    assert f"fault-{fault}-hi.{formats.extension(mime)}" in shown
    chunks = [item async for item in models.open["tts-1"].speak(request)]
    assert {chunk.mime for chunk in chunks} == {mime}


async def test_speech_that_is_a_text_is_an_error(models: Models) -> None:
    with pytest.raises(errors.ProviderError, match="The voice has been retired"):
        await models.ask("tts-1", SpeakRequest(text="fault:error-as-mp3 hi"))
    with pytest.raises(errors.ProviderError):
        await models.ask("tts-1", SpeakRequest(text="fault:page-as-mp3 hi"))


async def test_raw_speech_is_played_and_saved_as_wav(models: Models, tmp_path: Path) -> None:
    result = await models.ask("tts-1", SpeakRequest(text="hi", options={"response_format": "pcm"}))
    assert (result.mime, len(result.data)) == ("audio/pcm", 1000)
    assert "data:audio/wav;base64," in result._repr_mimebundle_()["text/html"]
    with wave.open(str(result.save(tmp_path / "x.wav"))) as file:
        assert (file.getframerate(), file.getnframes()) == (24_000, 500)
    assert result.save(tmp_path / "x.pcm").read_bytes() == result.data


async def test_transcribe_names_the_file_by_its_bytes(models: Models) -> None:
    for mime in ("audio/mpeg", "audio/unknown", "application/octet-stream"):
        result = await models.ask("whisper-1", TranscribeRequest(audio=Media(mime, WAV, name="talk.mp3")))
        assert f"{len(WAV)} bytes of audio.wav" in result.text


@pytest.mark.parametrize(("gains", "words"), [((1, -1), "of audio.wav in ?: Ann"), ((1, 1), "")])
async def test_transcribe_sends_compressed_channels_that_cancel_again(
    models: Models, server: Process, gains: tuple[int, int], words: str
) -> None:
    clip = made("m4a", np.sin(np.arange(16_000) / 20) * 0.3, 48_000, channels=2, gains=gains)
    before = received(server)
    request = TranscribeRequest(audio=clip, options={"prompt": "fault:deaf Ann"})
    result = await models.ask("whisper-1", request)
    assert words in result.text
    assert bool(result.text) == bool(words)
    assert received(server) - before == 1 + bool(words)


async def test_transcribe_sends_the_louder_of_channels_that_cancel(models: Models) -> None:
    voice = (np.sin(np.arange(16_000) / 20) * 9000).astype("<i2")
    for channels, sent in (((voice, -voice), 32_044), ((voice, voice), 64_044)):
        data = write(np.stack(channels, 1).tobytes(), 16_000, 2)
        result = await models.ask("whisper-1", TranscribeRequest(audio=Media("audio/wav", data)))
        assert f"{sent} bytes of audio.wav" in result.text


# ---- images


@pytest.mark.parametrize("fault", ["jpeg", "data-url"])
async def test_image_has_the_type_of_its_bytes(models: Models, tmp_path: Path, fault: str) -> None:
    result = await models.ask("gpt-image-1.5", ImageRequest(prompt=f"fault:{fault} a cat"))
    assert [item.mime for item in result.pictures] == ["image/jpeg"]
    with pytest.warns(UserWarning, match="JPEG, not PNG"):
        assert result.save(tmp_path / "cat.png") == tmp_path / "cat.jpg"
    assert not result.url


async def test_image_url_that_is_a_page_stays_a_url(server: Process) -> None:
    backend = await connect(server, "tiny", capabilities="image")
    [found] = [item async for item in backend.image(ImageRequest(prompt="an expired cat"))]
    assert (found.data, found.mime, found.url[-15:]) == (b"", "image", "expired-cat.png")
    await backend.close()


async def test_image_that_is_not_base64_is_unreadable(models: Models) -> None:
    with pytest.raises(errors.ProviderUnavailable, match="not base64"):
        await models.ask("gpt-image-1.5", ImageRequest(prompt="fault:not-base64 a cat"))


async def test_image_returns_bytes(models: Models, server: Process) -> None:
    request = ImageRequest(prompt="a cat", options={"size": "1792x1024", "quality": "hd"})
    result = await models.ask("dall-e-3", request)
    assert result.data.startswith(b"\x89PNG")
    assert result.pictures[0].caption == "An image of a cat."
    assert last(server)["body"]["response_format"] == "b64_json"


async def test_image_url_is_downloaded(server: Process) -> None:
    backend = await connect(server, "tiny", capabilities="image")
    [found] = [item async for item in backend.image(ImageRequest(prompt="a cat"))]
    assert found.data.startswith(b"\x89PNG")
    assert found.url.startswith(server.url)
    await backend.close()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://127.0.0.1:1/a.png", "http://169.254.169.254/latest/meta-data"]
)
async def test_image_of_no_public_place_is_not_fetched(url: str, server: Process) -> None:
    backend = await connect(server, "tiny", capabilities="image")
    row = bodies.Image(url=url)
    found = await backend._image(row, None, "image/png", keep_url=False)
    assert found.data == b""
    assert not found.url.startswith("javascript")
    await backend.close()


async def test_what_is_downloaded_must_be_an_image(server: Process) -> None:
    backend = await connect(server, "tiny", capabilities="image")
    found = await backend._image(bodies.Image(url=f"{server.url}/models"), None, "image/png", keep_url=False)
    assert (found.data, found.mime) == (b"", "image")
    await backend.close()


async def test_image_url_is_kept_on_request(models: Models) -> None:
    result = await models.ask("dall-e-3", ImageRequest(prompt="a cat", options={"response_format": "url"}))
    assert (result.data, result.pictures[0].url[:7]) == (b"", "http://")


async def test_image_returns_several(models: Models) -> None:
    result = await models.ask("gpt-image-1.5", ImageRequest(prompt="a cat", options={"n": 3, "quality": "low"}))
    assert len(result.pictures) == 3
    assert result.usage.completion_tokens == 90


async def test_image_edit_sends_images(models: Models) -> None:
    images = [Media("image/png", PNG), Media("image/png", PNG)]
    result = await models.ask("gpt-image-1.5", ImageRequest(prompt="add a hat", images=images))
    assert result.data.startswith(b"\x89PNG")


async def test_vision_accepts_bytes_and_urls(models: Models) -> None:
    content: Any = [{"type": "text", "text": "look"}, Media("image/png", PNG), Media("image", url="https://host/a.png")]
    result = await models.ask("gpt-4o", ChatRequest(messages=[Message("user", content)]))
    assert result.text == "Echo: look [image/png 12] [https://host/a.png]"


async def test_image_detail_is_passed_on(models: Models, server: Process) -> None:
    content: Any = [Media("image/png", PNG, detail="low"), Media("audio/wav", WAV)]
    await models.ask("gpt-4o", ChatRequest(messages=[Message("user", content)]))
    image, audio = last(server)["body"]["messages"][0]["content"]
    assert image["image_url"]["detail"] == "low"
    assert audio["input_audio"]["format"] == "wav"


# ---- what it can do, and how it fails


@pytest.mark.parametrize(
    ("model", "can"),
    [("gpt-4o", "chat tools vision"), ("tts-1", "speak"), ("dall-e-3", "image"), ("whisper-1", "transcribe")],
)
async def test_capabilities_follow_the_model_name(server: Process, model: str, can: str) -> None:
    backend = await connect(server, model)
    assert sorted(backend.capabilities()) == can.split()
    await backend.close()


async def test_capabilities_follow_saas_capabilities(server: Process) -> None:
    backend = await connect(server, "my-own", capabilities="embed, rerank")
    assert backend.capabilities() == {Capability.EMBED, Capability.RERANK}
    await backend.close()
    with pytest.raises(errors.BadParameter, match="'dance', which is not a capability"):
        await connect(server, "my-own", capabilities="dance")


FAULTS = [
    ("401", errors.AuthenticationFailed),
    ("404", errors.ModelNotFound),
    ("429", errors.RateLimited),
    ("500", errors.ProviderUnavailable),
    ("refuse", errors.ProviderUnavailable),
    ("garbage", errors.ProviderUnavailable),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=[row[0] for row in FAULTS])
@pytest.mark.parametrize("model", ["text-embedding-3-small", "tts-1", "dall-e-3", "whisper-1"])
async def test_errors_are_the_same_for_all_capabilities(
    models: Models, model: str, fault: str, kind: type[Exception]
) -> None:
    if (model, fault) == ("text-embedding-3-small", "garbage"):
        fault = "short"
    text = f"fault:{fault} hello"
    request: Request = {
        "text-embedding-3-small": EmbedRequest(texts=[text, "more"]),
        "tts-1": SpeakRequest(text=text),
        "dall-e-3": ImageRequest(prompt=text),
        "whisper-1": TranscribeRequest(audio=Media("audio/wav", WAV), options={"prompt": text}),
    }[model]
    with pytest.raises(errors.ByzerError) as caught:
        await models.ask(model, request)
    assert type(caught.value) is kind, caught.value
    assert KEY not in str(caught.value) + repr(caught.value.details)


@pytest.mark.parametrize("fault", ["reset", "truncate"])
async def test_truncated_audio_raises(models: Models, fault: str) -> None:
    with pytest.raises(errors.ProviderError):
        await models.ask("tts-1", SpeakRequest(text=f"fault:{fault} {'hello ' * 20}"))


async def test_embed_cancelled_cancels_its_requests(models: Models, server: Process) -> None:
    texts = ["fault:silence x"] * (OpenAIBackend.EMBED_BATCH * 3)
    before = received(server)
    asking = asyncio.create_task(models.ask("text-embedding-3-small", EmbedRequest(texts=texts)))
    assert await happens(lambda: received(server) == before + 3)
    asking.cancel()
    await asyncio.wait([asking])
    assert await happens(lambda: all("gone" in entry for entry in noted_after(server, before)))


# ---- a provider that others wrote


async def test_aimock_image_speak_and_embed(aimock: Process) -> None:
    url = f"{aimock.url}/v1"
    params = {"saas.base_url": url, "saas.api_key": KEY, "saas.model": "text-embedding-3-small"}
    backend = await opened("saas/openai", params)
    [embeddings] = [item async for item in backend.embed(EmbedRequest(texts=["some text", "other text"]))]
    assert (embeddings.rows, embeddings.dimensions > 100) == (2, True)
    await backend.close()


def test_official_openai_is_the_same_api() -> None:
    assert issubclass(registry.find("saas/official_openai"), OpenAIBackend)

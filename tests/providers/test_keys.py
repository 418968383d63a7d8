"""Keys of every provider: one that no header can have is refused when it is given, any other is sent byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from byzer_magic.backends import registry
from byzer_magic.commands.headers import trimmed
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter, ByzerError
from byzer_magic.plan import resolve
from byzer_magic.types import ChatRequest, Message, Request, SpeakRequest
from tests.backends import opened

CHAT = ChatRequest(messages=[Message("user", "x")])
SPEECH = SpeakRequest(text="x")
PROVIDERS: dict[str, tuple[str, Request, str]] = {
    "saas/openai": ("saas.base_url={url}/v1 saas.model=m", CHAT, "authorization: Bearer {key}"),
    "saas/groq": ("saas.base_url={url}/v1 saas.model=m", CHAT, "authorization: Bearer {key}"),
    "saas/azure_openai": ("saas.azure_endpoint={url} saas.model=m", CHAT, "api-key: {key}"),
    "saas/claude": ("saas.base_url={url} saas.model=m", CHAT, "authorization: Bearer {key}"),
    "saas/qianwen": ("saas.base_url={url}/api/v1 saas.model=qwen-plus", CHAT, "authorization: Bearer {key}"),
    "saas/ollama": ("saas.base_url={url} saas.model=m", CHAT, "authorization: Bearer {key}"),
    "saas/azure": ("saas.base_url={url}", SPEECH, "ocp-apim-subscription-key: {key}"),
    "saas/volcengine": ("saas.base_url={url} saas.app_id=1 saas.model=seed-tts-2.0", SPEECH, "x-api-access-key: {key}"),
}
"""Settings, a request, and the header that has the key."""
DECLARED = sorted(
    {(kind, param.name) for kind in registry.saas_kinds()
     for param in registry.find(kind).info.params if param.secret and param.in_header}
)  # fmt: skip
KEYS = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20),
    st.text(min_size=1, max_size=20),
    st.tuples(st.sampled_from(["", " ", "\u201c", "\ufeff", "Bearer ", '"']), st.text("sk-19", min_size=1),
              st.sampled_from(["", "\n", "\u200b", "\u201d", "\u00a0", '"'])).map("".join),
)  # fmt: skip


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that keeps the bytes of each request's head, and answers none."""
    heads: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def header_sent(kind: str, key: str) -> tuple[bytes, bytes]:
    """Return the header that a provider sends a key in, and the one that it should send."""
    text, request, header = PROVIDERS[kind]
    async with listener() as (url, heads):
        given = dict(word.split("=", 1) for word in text.format(url=url).split())
        backend = await opened(kind, {**given, "saas.api_key": key, "saas.max_retries": "0"})
        try:
            with suppress(ByzerError):
                method = backend.chat if isinstance(request, ChatRequest) else backend.speak
                async for _item in method(request):
                    pass
        finally:
            await backend.close()
        name, _colon, value = header.format(key=trimmed(key)).partition(": ")
        lines = dict(line.split(b":", 1) for line in heads[0].split(b"\r\n")[1:] if line)
        found = {field.lower(): value.strip(b" ") for field, value in lines.items()}
        return found[name.encode()], value.encode()


@pytest.mark.parametrize("kind", PROVIDERS)
@given(key=KEYS)
@example("sk-own-0123456789\n")
@example("\u201csk-own-0123456789\u201d")
@example("\u4f60\u7684\u5bc6\u94a5")
@example("a b")
@example("KEY=sk-1")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_key_is_refused_with_its_settings_name_or_sent_byte_for_byte(kind: str, key: str) -> None:
    try:
        sent, wanted = asyncio.run(header_sent(kind, key))
    except BadParameter as err:
        assert str(err.message).startswith("saas.api_key ")
    else:
        assert sent == wanted


@pytest.mark.parametrize(("kind", "name"), DECLARED)
def test_every_secret_of_every_provider_is_checked_where_it_is_given(kind: str, name: str) -> None:
    required = {param.name: "x" for param in registry.find(kind).info.params if param.required}
    spec = DeploySpec(model="m", pretrained_model_type=kind, infer_params={**required, name: "${K}"})
    with pytest.raises(BadParameter, match=rf"^{name} \(\$\{{K\}}\) has a character that no .* \(position 3\)"):
        resolve(spec, {}, {"K": "sk\u201cown"})


def test_a_key_of_a_variable_is_named_with_the_variable() -> None:
    spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params={"saas.model": "x"})
    with pytest.raises(BadParameter, match=r"^saas\.api_key \(OPENAI_API_KEY\) has a character"):
        resolve(spec, {}, {"OPENAI_API_KEY": "sk-\nown"})
    blank = resolve(spec, {}, {"OPENAI_API_KEY": " \u200b"}, {"saas.api_key": "typed\n"})
    assert blank.setup.params["saas.api_key"].reveal() == "typed"


@pytest.mark.parametrize("source", ["env:K", "${K}", "a${K}"])
def test_a_key_is_checked_wherever_it_comes_from(source: str) -> None:
    params = {"saas.model": "x", "saas.api_key": source}
    spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params)
    with pytest.raises(BadParameter, match=r"saas\.api_key"):
        resolve(spec, {"K": "sk\u4e00"}, {})
    with pytest.raises(BadParameter, match=r"saas\.api_key"):
        resolve(spec, {}, {"K": "k"}, {"saas.api_key": "sk\u4e00"})


@pytest.mark.parametrize(
    ("kind", "name"),
    [("saas/openai", "organization"), ("saas/qianwen", "workspace"), ("saas/claude", "anthropic_version"),
     ("saas/volcengine", "app_id"), ("saas/volcengine", "model"), ("saas/azure", "output_format")],
)  # fmt: skip
def test_other_values_of_headers_are_checked_too(kind: str, name: str) -> None:
    required = {param.name: "x" for param in registry.find(kind).info.params if param.required}
    params = {**required, "saas.api_key": "k", f"saas.{name}": "a\u4e00"}
    with pytest.raises(
        BadParameter, match=rf"^saas\.{name} has a character that no HTTP header can have \(position 2\)"
    ):
        resolve(DeploySpec(model="m", pretrained_model_type=kind, infer_params=params), {}, {})


@pytest.mark.parametrize("kind", ["saas/openai", "saas/claude", "saas/qianwen", "saas/ollama", "saas/volcengine"])
def test_extra_headers_of_every_provider_are_checked(kind: str) -> None:
    required = {param.name: "x" for param in registry.find(kind).info.params if param.required}
    params = {**required, "saas.api_key": "k", "saas.extra_headers": '{"X-Team": "\u7ec4"}'}
    with pytest.raises(BadParameter, match=r"^saas\.extra_headers \(X-Team\) has a character"):
        resolve(DeploySpec(model="m", pretrained_model_type=kind, infer_params=params), {}, {})


@pytest.mark.parametrize(
    ("value", "error"),
    [("", "is empty"), (" \u200b\n", "is empty"), ('"gpt-4o"', "has quotes around it"),
     ("gpt-4o,", "ends with a comma"),
     ("'gpt-4o", "has a quotation mark"), ("&quot;gpt-4o&quot;", "contains &quot;")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["saas/openai", "saas/claude", "saas/qianwen", "saas/ollama", "saas/volcengine"])
def test_a_model_with_more_than_its_name_is_refused_wherever_it_comes_from(kind: str, value: str, error: str) -> None:
    params = {"saas.api_key": "k", "saas.model": "${M}"}
    with pytest.raises(BadParameter, match=rf"^saas\.model \(\$\{{M\}}\) {error}"):
        resolve(DeploySpec(model="m", pretrained_model_type=kind, infer_params=params), {"M": value}, {})


def test_url_and_model_are_taken_without_white_space_at_their_ends() -> None:
    params = {
        "saas.model": "gpt-4o\n",
        "saas.base_url": "\u200bhttps://api.x.com/v1 \n",
        "saas.stop": "\n",
        "saas.api_key": "k",
    }
    found = resolve(
        DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params), {}, {}
    ).setup.params
    assert (found["saas.model"], found["saas.base_url"]) == ("gpt-4o", "https://api.x.com/v1")
    assert found["saas.stop"] == "\n"

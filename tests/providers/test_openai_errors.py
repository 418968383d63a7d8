"""What a user reads when a provider refuses or fails; the same whether the answer was to be streamed or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic import errors
from tests.backends import ask, collect, failure, opened, refuse_streams, until_error
from tests.servers.process import Process, free_port


async def connect(url: str, key: str, **params: str) -> Any:
    given = {"saas.base_url": url + "/v1", "saas.api_key": key, "saas.model": "gpt-4o", "saas.max_retries": "0"}
    return await opened("saas/openai", given | {f"saas.{name}": value for name, value in params.items()})


@pytest.fixture
async def backend(provider: Process, key: str) -> AsyncIterator[Any]:
    backend = await connect(provider.url, key)
    yield backend
    await backend.close()


REFUSALS = [
    (
        "fault:401",
        errors.AuthenticationFailed,
        "invalid API key (401): Incorrect API key provided: ***",
        {"status": 401},
    ),
    (
        "fault:403",
        errors.AuthenticationFailed,
        "denied (403): Country",
        {"provider_code": "unsupported_country"},
    ),
    (
        "fault:429 retry_after=3",
        errors.RateLimited,
        "(429): Rate limit",
        {"retry_after": 3.0},
    ),
    ("fault:quota", errors.RateLimited, "(429)", {"provider_code": "insufficient_quota"}),
    ("fault:context", errors.ContextTooLong, "maximum context length is 8192", {"status": 400}),
    ("fault:filter", errors.ContentRefused, "filtered", {"provider_code": "content_filter"}),
    ("fault:500", errors.ProviderUnavailable, "(500): The server had an error.", {"status": 500}),
    ("fault:503", errors.ProviderUnavailable, "(503)", {"status": 503}),
    ("fault:418", errors.BadRequest, "rejected (418)", {"status": 418}),
    ("fault:refuse", errors.ProviderUnavailable, "connection closed before gpt-4o finished", {}),
    ("fault:html", errors.ProviderUnavailable, "unreadable response", {}),
    ("fault:garbage", errors.ProviderUnavailable, "unreadable response", {}),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("text", "kind", "words", "details"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_error_responses_become_our_errors(
    backend: Any, text: str, kind: type[Exception], words: str, details: dict[str, Any], stream: bool
) -> None:
    if not stream:
        await refuse_streams(backend)
    error = await failure(backend, text)
    assert type(error) is kind
    assert words in error.message
    assert error.hint
    assert details.items() <= error.details.items()


IN_STREAM = [
    ("fault:truncate", errors.StreamTruncated, "stream from gpt-4o ended before"),
    ("fault:error", errors.ProviderUnavailable, "(500): The engine is overloaded."),
    ("fault:reset", errors.ProviderUnavailable, "connection closed"),
]


@pytest.mark.parametrize(("text", "kind", "words"), IN_STREAM, ids=[row[0] for row in IN_STREAM])
async def test_stream_keeps_text_before_an_error(backend: Any, text: str, kind: type[Exception], words: str) -> None:
    seen, error = await until_error(backend.chat(ask(text + " some words that were said")))
    assert type(error) is kind
    assert words in error.message
    assert [chunk.text for chunk in seen] == ["Echo:", " some"], "what came before the fault is passed on"


async def test_error_body_with_status_200_raises(backend: Any) -> None:
    await refuse_streams(backend)
    error = await failure(backend, "fault:error")
    assert type(error) is errors.ProviderUnavailable
    assert "(502): Upstream is gone." in error.message


async def test_rejected_requests_raise_model_not_found_or_bad_request(backend: Any) -> None:
    error = await failure(backend, "hi", model="gpt-99")
    assert type(error) is errors.ModelNotFound
    assert "`gpt-99` does not exist" in error.message
    error = await failure(backend, "hi", temperature="hot")
    assert type(error) is errors.BadRequest


@pytest.mark.parametrize("stream", [True, False])
async def test_timeout_raises_deadline_exceeded(provider: Process, key: str, stream: bool) -> None:
    backend = await connect(provider.url, key, timeout="0.4")
    if not stream:
        await refuse_streams(backend)
    started = time.monotonic()
    error = await failure(backend, "fault:hang")
    assert type(error) is errors.DeadlineExceeded
    assert time.monotonic() - started > 0.3
    await backend.close()


async def test_request_timeout_overrides_the_deployments(backend: Any) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await collect(backend, ask("fault:silence", timeout=0.3))


async def test_closed_port_raises_provider_unavailable(key: str) -> None:
    port = free_port()
    backend = await connect(f"http://127.0.0.1:{port}", key)
    error = await failure(backend, "hi")
    assert type(error) is errors.ProviderUnavailable
    assert f"Cannot connect to http://127.0.0.1:{port}/v1" in error.message
    await backend.close()


async def test_key_is_in_no_text(provider: Process, key: str, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "sk-wrong-abcdefgh0123456789"
    backend = await connect(provider.url, wrong)
    error = await failure(backend, "hi")
    for text in (str(error), repr(error), str(error.details), caplog.text):
        assert not any(wrong[i : i + 8] in text for i in range(len(wrong) - 8))
        assert wrong[-4:] not in text
    assert error.message.startswith("127.0.0.1")
    assert "invalid API key (401): Incorrect API key provided: ***" in error.message
    await backend.close()
    backend = await connect(provider.url, key)
    assert key not in str(await failure(backend, "fault:leak"))
    await backend.close()


async def test_aimock_errors(aimock: Process, key: str) -> None:
    backend = await connect(aimock.url, key)
    error = await failure(backend, "too many")
    assert (type(error), error.details["retry_after"]) == (errors.RateLimited, 7.0)
    assert type(await failure(backend, "cut off")) in (errors.StreamTruncated, errors.ProviderUnavailable)
    stranger = await connect(aimock.url, "sk-other-key-000000")
    assert type(await failure(stranger, "hi")) is errors.AuthenticationFailed
    await asyncio.gather(backend.close(), stranger.close())

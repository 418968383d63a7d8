"""Every provider through every error: the same classes, the same retries, and no key in any text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from byzer_magic import errors, request_ids
from byzer_magic.backends import registry
from byzer_magic.backends.http import retry
from byzer_magic.capabilities import Capability
from byzer_magic.runtime.workers import keyed
from byzer_magic.types import Request, SpeakRequest
from tests.backends import ask, opened, refuse_streams, setup_of
from tests.conftest import KEY
from tests.servers import process
from tests.waiting import PATIENCE

TRIES = 2


@dataclass(frozen=True)
class Case:
    """One provider: its type, the server that plays it, its settings (``{url}`` and ``{key}`` are filled in)."""

    kind: str
    server: str
    params: str
    is_speech: bool = False
    key: str = KEY

    @property
    def name(self) -> str:
        return self.kind if self.key else f"{self.kind}-without-key"

    @property
    def may_not_stream(self) -> bool:
        """Return whether there are servers of this API that refuse to stream."""
        return not self.is_speech and self.server != "json_lines"

    def request(self, text: str) -> Request:
        return SpeakRequest(text=text) if self.is_speech else ask(text)


CASES = [
    Case("saas/openai", "openai_api", "base_url={url}/v1 api_key={key} model=gpt-4o"),
    Case("saas/azure_openai", "openai_api", "azure_endpoint={url} api_key={key} model=gpt-4o api_version=2024-10-21"),
    Case("saas/groq", "openai_api", "base_url={url}/v1 api_key={key} model=gpt-4o"),
    Case("saas/ollama", "ollama", "base_url={url} api_key={key} model=llama3:70b-instruct-q4_0"),
    Case("saas/claude", "claude", "base_url={url} api_key={key} model=claude-sonnet-5-5"),
    Case(
        "saas/aws_bedrock",
        "bedrock",
        "endpoint_url={url} aws_access_key=AKIAPLANTED0000000 aws_secret_key=planted/secret+0123456789abcdef"
        " region_name=us-east-1 model=anthropic.claude-3-5-sonnet-20240620-v1:0",
        key="AKIAPLANTED0000000:planted/secret+0123456789abcdef",
    ),
    Case("saas/qianwen", "dashscope", "base_url={url}/api/v1 api_key={key} model=qwen-plus"),
    Case(
        "saas/volcengine",
        "volcengine",
        "base_url={url} api_key={key} app_id=6503259792 model=volcano_tts",
        is_speech=True,
    ),
    Case(
        "saas/volcengine",
        "volcengine",
        "base_url={url} api_key={key} app_id=6503259792 model=seed-tts-2.0",
        is_speech=True,
    ),
    Case("saas/azure", "azure_speech", "base_url={url} api_key={key}", is_speech=True),
    Case("saas/qianwen_vl", "dashscope", "base_url={url}/api/v1 api_key={key} model=qwen-vl-max"),
    Case("saas/json_lines", "json_lines", "base_url={url} api_key={key} model=tiny"),
    Case("saas/json_lines", "json_lines", "base_url={url} model=tiny", key=""),
    Case("saas/ollama", "ollama", "base_url={url} model=llama3:70b-instruct-q4_0", key=""),
]
REFUSALS: list[tuple[str, type[errors.ByzerError], bool]] = [
    ("401", errors.AuthenticationFailed, False),
    ("403", errors.AuthenticationFailed, False),
    ("404", errors.ModelNotFound, False),
    ("context", errors.ContextTooLong, False),
    ("429", errors.RateLimited, True),
    ("500", errors.ProviderUnavailable, True),
    ("529", errors.ProviderUnavailable, True),
    ("refuse", errors.ProviderUnavailable, True),
    ("silence", errors.DeadlineExceeded, False),
]
"""Fault, the error that it must become, and whether it is retried."""
IN_STREAM: list[tuple[str, tuple[type[errors.ByzerError], ...]]] = [
    ("truncate", (errors.StreamTruncated, errors.ProviderUnavailable)),
    ("reset", (errors.ProviderUnavailable, errors.StreamTruncated)),
    ("garbage", (errors.ProviderUnavailable,)),
]


@pytest.fixture(scope="module", params=CASES, ids=[case.name for case in CASES])
def case(request: pytest.FixtureRequest, documented_provider: object) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def server(case: Case, serving: Callable[..., process.Process]) -> process.Process:
    return serving(case.server, case.key)


@pytest.fixture
async def backend(
    case: Case, server: process.Process, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    """A deployment; only where there is no answer at all, its deadline is near."""
    monkeypatch.setattr(retry, "FIRST_DELAY_SECONDS", 0.01)
    is_silent = "silence" in request.node.callspec.params.values()
    given = case.params.format(url=server.url, key=case.key) + f" timeout={1 if is_silent else PATIENCE}"
    params = {f"saas.{name}": value for name, _, value in (word.partition("=") for word in given.split())}
    backend = await opened(case.kind, params)
    yield backend
    await backend.close()


async def outcome(backend: Any, request: Request) -> tuple[list[Any], errors.ByzerError]:
    """Return what came, and the error that ended it, by the way that a pool goes."""
    items: list[Any] = []
    capability = "speak" if isinstance(request, SpeakRequest) else "chat"
    with pytest.raises(errors.ByzerError) as caught:
        async with aclosing(retry.retried(lambda: getattr(backend, capability)(request), TRIES)) as answer:  # type: ignore[type-var]  # a generator
            async for item in answer:
                items.append(item)  # noqa: PERF401 - what came before the error counts
    return items, caught.value


def check_text(error: errors.ByzerError, case: Case) -> None:
    for text in (str(error), repr(error), str(error.details), repr(error.__cause__)):
        assert not any(part in text for part in case.key.split(":") if part)
    assert "\n" not in error.message
    assert error.hint
    assert error.__suppress_context__ or error.__context__ is None, "the chain behind an error may quote the key"


@pytest.mark.parametrize(("fault", "kind", "again"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_error_responses_become_our_errors(
    case: Case, server: process.Process, backend: Any, fault: str, kind: type[errors.ByzerError], again: bool
) -> None:
    before = process.received(server)
    items, error = await outcome(backend, case.request(f"fault:{fault} hello"))
    assert type(error) is kind, error
    assert items == []
    assert process.received(server) - before == (TRIES + 1 if again else 1)
    check_text(error, case)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.may_not_stream], ids=lambda case: case.name, indirect=True
)
@pytest.mark.parametrize(("fault", "kind", "again"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_errors_are_the_same_where_the_server_refuses_to_stream(
    case: Case, server: process.Process, backend: Any, fault: str, kind: type[errors.ByzerError], again: bool
) -> None:
    await refuse_streams(backend)
    await test_error_responses_become_our_errors(case, server, backend, fault, kind, again)


@pytest.mark.parametrize(("fault", "kinds"), IN_STREAM, ids=[row[0] for row in IN_STREAM])
async def test_error_after_the_first_chunk_is_not_retried(
    case: Case,
    server: process.Process,
    backend: Any,
    fault: str,
    kinds: tuple[type[errors.ByzerError], ...],
) -> None:
    before = process.received(server)
    text = f"fault:{fault} these are some words, enough for several chunks. " + "And one more sentence. " * 5
    items, error = await outcome(backend, case.request(text))
    assert type(error) in kinds, error
    if items:
        assert process.received(server) - before == 1, "nothing that has begun is asked again"
    check_text(error, case)


async def test_retry_after_is_passed_on(case: Case, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "MAX_RETRY_AFTER_SECONDS", 2.0)
    _, error = await outcome(backend, case.request("fault:429 retry_after=3 hello"))
    assert error.details["retry_after"] == 3.0


@pytest.mark.parametrize("current", ["", "req_planted-7"], ids=["none", "one"])
async def test_id_of_the_request_reaches_the_provider(
    case: Case, server: process.Process, backend: Any, current: str
) -> None:
    request_ids.CURRENT.set(current)
    answer = backend.speak if case.is_speech else backend.chat
    async for _item in answer(case.request("hello")):
        pass
    takes = case.server != "bedrock"  # AWS has an id of its own for each request
    assert process.last(server)["request_id"] == (current if takes and current else None)


KEYED = [case for case in CASES if "{key}" in case.params]
"""Those that take several keys: all but the pairs of keys of AWS, whose API keys need an endpoint with TLS."""
of_keys = pytest.mark.parametrize("case", KEYED, ids=lambda case: case.name, indirect=True)


@asynccontextmanager
async def several(case: Case, server: process.Process, second: str = "") -> AsyncIterator[Any]:
    """Open a provider with two keys, as a deploy does."""
    given = case.params.format(url=server.url, key=case.key).split()
    params = {f"saas.{name}": value for name, _, value in (word.partition("=") for word in given)}
    params["saas.api_key"] += f",{second or params['saas.api_key'] + '-second'}"
    kind = registry.find(case.kind)
    found = await keyed.open_each(kind, setup_of(kind, params), lambda *_: None)
    assert isinstance(found, keyed.Keyed)
    yield found
    await found.close()


async def answered(found: keyed.Keyed, request: Request) -> list[Any]:
    """Return a complete response, by the way that a pool goes."""
    capability = Capability.SPEAK if isinstance(request, SpeakRequest) else Capability.CHAT
    return [item async for item in retry.retried(lambda: found.ask(capability, request), TRIES)]


@of_keys
async def test_limited_key_rests_and_the_other_one_serves_the_same_request(case: Case, server: process.Process) -> None:
    before = process.received(server)
    async with several(case, server) as found:
        for _ in range(4):
            assert await answered(found, case.request("fault:429 retry_after=600 only:second hello"))
        first, second = found.stats()
    assert [entry["key"] for entry in process.noted_after(server, before)] == ["first", "second", *["first"] * 3]
    assert (first.state, second.state) == ("up", "limited")
    assert 500 < second.seconds <= 600


@of_keys
async def test_refused_key_is_left_out(case: Case, server: process.Process, caplog: pytest.LogCaptureFixture) -> None:
    before = process.received(server)
    async with several(case, server, "another-planted-key-0123456789") as found:
        for _ in range(4):
            assert await answered(found, case.request("hello"))
        first, second = found.stats()
    assert process.received(server) - before == 5
    assert (first.state, second.state) == ("up", "refused")
    assert second.why
    assert not any(key in text for text in (caplog.text, repr(second)) for key in (case.key, "another-planted"))


@of_keys
async def test_request_fails_with_the_time_when_the_first_key_is_there_again(
    case: Case, server: process.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "MAX_RETRY_AFTER_SECONDS", 2.0)
    before = process.received(server)
    async with several(case, server) as found:
        for _ in range(2):
            with pytest.raises(
                errors.RateLimited, match=r"no key can be used for (600|5..) s: key 1: rate limit"
            ) as caught:
                await answered(found, case.request("fault:429 retry_after=600 hello"))
            check_text(caught.value, case)
    assert process.received(server) - before == 2, "the second request is sent with no key at all"
    assert 500 < caught.value.details["retry_after"] <= 600


def test_table_has_every_provider_with_a_file() -> None:
    files = {kind for kind in registry.saas_kinds() if kind.partition("/")[2] in registry._files()}
    assert files <= {case.kind for case in CASES}

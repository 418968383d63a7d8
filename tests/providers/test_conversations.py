"""What a session keeps is accepted by every provider, and so is what anyone else puts into a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from byzer_magic.results import ChatResult, turns
from byzer_magic.types import ChatRequest, Message
from tests.backends import collect, opened, text_of
from tests.providers.test_every_provider import CASES, Case
from tests.servers import process

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
OBJECT = {**CALL, "function": {"name": "weather", "arguments": {"city": "Bern"}}}
RESULTS = {
    "complete": ChatResult(model="m", text="Hello!", finish="stop"),
    "blank": ChatResult(model="m", text="\n\n", finish="stop"),
    "empty": ChatResult(model="m", text="", finish="stop"),
    "no-break space": ChatResult(model="m", text="\u00a0\u3000 ", interrupted=True),
    "part": ChatResult(model="m", text="Hello, I ", interrupted=True),
    "truncated": ChatResult(model="m", text="One, two, \n", finish="length"),
    "refused": ChatResult(model="m", text="", finish="content_filter"),
    "refused later": ChatResult(model="m", text="First you ", finish="content_filter"),
    "reasoning": ChatResult(model="m", text="", reasoning="So I should ...", finish="length"),
    "tool call": ChatResult(model="m", text="", tool_calls=[CALL], finish="tool_calls"),
    "text and tool call": ChatResult(model="m", text="Let me see.", tool_calls=[CALL], finish="tool_calls"),
}
KEPT = {"complete", "part", "truncated", "text and tool call"}

CONVERSATIONS = {
    "blank response": [Message("user", "a"), Message("assistant", "\n\n"), Message("user", "b")],
    "empty response": [Message("user", "a"), Message("assistant", ""), Message("user", "b")],
    "no response": [Message("user", "a"), Message("assistant"), Message("user", "b")],
    "blank parts": [
        Message("user", [{"type": "text", "text": " "}, {"type": "text", "text": "a"}]),
        Message("assistant", [{"type": "text", "text": "\n"}]),
        Message("user", "b"),
    ],
    "blank system prompt": [Message("system", " "), Message("user", "b")],
    "two prompts": [Message("user", "a"), Message("user", "b")],
    "arguments as an object": [
        Message("user", "a"),
        Message("assistant", "", tool_calls=[OBJECT]),
        Message("tool", "sunny", tool_call_id="call_1"),
        Message("assistant", "It is sunny."),
        Message("user", "b"),
    ],
    "a tool without a result": [
        Message("user", "a"),
        Message("assistant", " ", tool_calls=[CALL]),
        Message("tool", "", tool_call_id="call_1"),
        Message("assistant", "Done. "),
        Message("user", "b"),
    ],
}


def _cases() -> list[Any]:
    found = {case.kind: case for case in CASES if not case.is_speech and case.server != "json_lines" and case.key}
    return [pytest.param(case, id=case.name) for case in found.values()]


@pytest.fixture(scope="module", params=_cases())
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def server(case: Case, serving: Callable[..., process.Process]) -> process.Process:
    return serving(case.server, case.key)


@pytest.fixture
async def backend(case: Case, server: process.Process) -> AsyncIterator[Any]:
    given = case.params.format(url=server.url, key=case.key)
    params = {f"saas.{name}": value for name, _, value in (word.partition("=") for word in given.split())}
    backend = await opened(case.kind, params)
    yield backend
    await backend.close()


@pytest.mark.parametrize("name", RESULTS)
async def test_session_goes_on_after_any_response(backend: Any, name: str) -> None:
    session = [Message("user", "hi"), Message("assistant", "Hello.")]
    session = turns.kept([*session, Message("user", "and?")], RESULTS[name]) or session
    assert (len(session) == 4) == (name in KEPT)
    chunks = await collect(backend, ChatRequest(messages=[*session, Message("user", "go on")]))
    assert text_of(chunks) == "Echo: go on"


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversation_with_blanks_is_accepted(backend: Any, name: str) -> None:
    chunks = await collect(backend, ChatRequest(messages=CONVERSATIONS[name]))
    assert text_of(chunks).endswith("b")

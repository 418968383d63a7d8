"""Tool calls as clients get them over each wire: complete, whatever order and end the server behind gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic import errors
from byzer_magic.gateway.access import Access
from byzer_magic.gateway.tool_deltas import ToolDeltas
from byzer_magic.types import ChatChunk, Usage
from tests.endpoints import Running, Scripted, running

ARGUMENTS = ['{"city": "Paris"}', '{"city": "Rome", "days": 3}', "{}"]
TOOLS: list[Any] = [{"name": "weather", "input_schema": {"type": "object"}}]


def delta(index: int, arguments: str, *, begins: bool = False) -> dict[str, Any]:
    """Return a delta of the call with a number."""
    about = {"id": f"id{index}"} if begins else {}
    name = {"name": "weather"} if begins else {}
    return {"index": index, **about, "function": {**name, "arguments": arguments}}


@st.composite
def orders(draw: st.DrawFn) -> list[ChatChunk]:
    """Draw the chunks of three calls whose pieces mix, with text and reasoning in between."""
    pieces: list[list[Any]] = []
    for index, arguments in enumerate(ARGUMENTS):
        cut = draw(st.integers(1, len(arguments)))
        parts = [arguments[:cut], arguments[cut:]] if cut < len(arguments) else [arguments]
        pieces.append([delta(index, part, begins=number == 0) for number, part in enumerate(parts)])
    chunks = []
    begun = 0  # calls begin in their order, as all servers give them
    while any(pieces):
        choice = draw(st.sampled_from([index for index in range(min(begun + 1, 3)) if pieces[index]] or [begun]))
        begun = max(begun, choice + 1)
        if not pieces[choice]:
            continue
        text = draw(st.sampled_from(["", "", "word "]))
        thought = draw(st.sampled_from(["", "", "hm "]))
        chunks.append(ChatChunk(text, reasoning=thought, tool_calls=[pieces[choice].pop(0)]))
    finish = draw(st.sampled_from(["stop", None, "tool_calls"]))
    return [*chunks, ChatChunk(finish=finish, usage=Usage(1, 1))]


if TYPE_CHECKING:
    import anthropic


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(m="custom/auto (llama_cpp)", several="saas/openai")) as found:
        yield found


@pytest.fixture(scope="module")
def claude(endpoint: Running) -> Iterator[anthropic.Anthropic]:
    import anthropic  # here, since each worker imports all files, and this takes 1.4 s

    with anthropic.Anthropic(base_url=endpoint.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def gpt(endpoint: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def text_of(chunks: list[ChatChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


@given(orders())
@settings(max_examples=15)
def test_calls_that_mix_are_complete_for_claudes_clients(
    endpoint: Running, claude: anthropic.Anthropic, chunks: list[ChatChunk]
) -> None:
    endpoint.scripted.answer = lambda _alias, _request: chunks
    asked: dict[str, Any] = {
        "model": "m", "max_tokens": 9, "tools": TOOLS, "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    with claude.messages.stream(**asked) as stream:
        message: Any = stream.get_final_message()
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [json.loads(arguments) for arguments in ARGUMENTS]
    assert "".join(block.text for block in message.content if block.type == "text") == text_of(chunks)
    assert message.stop_reason == "tool_use"
    assert claude.messages.create(**asked).stop_reason == "tool_use"


@given(orders())
@settings(max_examples=15)
def test_calls_that_mix_are_complete_for_openais_clients(
    endpoint: Running, gpt: openai.OpenAI, chunks: list[ChatChunk]
) -> None:
    endpoint.scripted.answer = lambda _alias, _request: chunks
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with gpt.chat.completions.stream(**asked) as stream:
        choice = stream.get_final_completion().choices[0]
    assert [call.function.arguments for call in choice.message.tool_calls or ()] == ARGUMENTS
    assert choice.finish_reason == "tool_calls"
    assert gpt.chat.completions.create(**asked).choices[0].finish_reason == "tool_calls"
    with gpt.responses.stream(model="m", input="hi") as events:
        output: list[Any] = events.get_final_response().output
    assert [item.arguments for item in output if item.type == "function_call"] == ARGUMENTS
    texts = [part.text for item in output if item.type == "message" for part in item.content]
    assert "".join(texts) == text_of(chunks)


def piece_of(choice: int, call: dict[str, Any]) -> ChatChunk:
    """Return a delta of a call as backends give it: of a choice after the first in `extra`."""
    if not choice:
        return ChatChunk(tool_calls=[call])
    return ChatChunk(extra={"choices": [{"index": choice, "text": "", "finish": None, "tool_calls": [call]}]})


@st.composite
def choices(draw: st.DrawFn) -> tuple[list[str], list[ChatChunk]]:
    """Draw the arguments of a call in each of several choices, and the chunks whose pieces mix."""
    arguments = [json.dumps({"city": city}) for city in draw(st.lists(st.text("abc"), min_size=2, max_size=4))]
    pieces = []
    for text in arguments:
        cut = draw(st.integers(0, len(text)))
        pieces.append([delta(0, text[:cut], begins=True), delta(0, text[cut:])])
    order = draw(st.permutations([number for number in range(len(arguments)) for _ in range(2)]))
    ends = [{"index": number, "text": "", "finish": "tool_calls"} for number in range(1, len(arguments))]
    mixed = [piece_of(number, pieces[number].pop(0)) for number in order]
    return arguments, [*mixed, ChatChunk(finish="tool_calls", usage=Usage(1, 1), extra={"choices": ends})]


@given(choices())
@settings(max_examples=15)
def test_choices_have_tool_calls_of_their_own(
    endpoint: Running, gpt: openai.OpenAI, drawn: tuple[list[str], list[ChatChunk]]
) -> None:
    expected, chunks = drawn
    endpoint.scripted.answer = lambda _alias, _request: chunks
    asked: dict[str, Any] = {
        "model": "several", "n": len(expected), "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    with gpt.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices
    for found in (streamed, gpt.chat.completions.create(**asked).choices):
        calls = {choice.index: [call.function.arguments for call in choice.message.tool_calls] for choice in found}
        assert calls == {number: [arguments] for number, arguments in enumerate(expected)}
        assert {choice.finish_reason for choice in found} == {"tool_calls"}


def test_calls_one_after_the_other_are_not_held_back() -> None:
    deltas = ToolDeltas(in_turn=True)
    assert [found.arguments for found in deltas.add([delta(0, '{"a": ', begins=True)])] == ['{"a": ']
    assert deltas.is_open
    assert [found.arguments for found in deltas.add([delta(0, "1}")])] == ["1}"]
    assert not deltas.is_open
    assert [found.index for found in deltas.add([delta(1, "{", begins=True)])] == [1]
    assert deltas.end() == []


def test_answer_that_fails_on_its_way_is_a_failed_response(endpoint: Running, gpt: openai.OpenAI) -> None:
    endpoint.scripted.answer = lambda _alias, _request: [ChatChunk("hel"), errors.StreamTruncated("It ended early.")]
    last: Any = list(gpt.responses.create(model="m", input="hi", stream=True))[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert "ended early" in last.response.error.message
    assert last.response.usage is None
    [item] = last.response.output
    assert (item.status, item.id[:4]) == ("incomplete", "msg_")
    endpoint.scripted.answer = lambda _alias, _request: [
        ChatChunk("hel", usage=Usage(3, 1)),
        errors.StreamTruncated(""),
    ]
    assert list(gpt.responses.create(model="m", input="hi", stream=True))[-1].response.usage.output_tokens == 1  # type: ignore[union-attr]


def test_response_that_is_not_known_says_what_to_do(gpt: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Send the whole conversation") as caught:
        gpt.responses.create(model="m", input="hi", previous_response_id="resp_x")
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
    for ask in (gpt.responses.retrieve, gpt.responses.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            ask("resp_x")  # type: ignore[operator]
        assert (caught.value.code, caught.value.param) == ("not_found", None)
    with (
        running(Scripted(), Access(share=2)) as replica,
        openai.OpenAI(base_url=f"{replica.url}/v1", api_key="x") as other,
        pytest.raises(openai.NotFoundError, match="each replica of this endpoint remembers its own"),
    ):
        other.responses.retrieve("resp_x")


@pytest.mark.parametrize("stream", [True, False])
def test_each_thought_keeps_its_signature(endpoint: Running, claude: anthropic.Anthropic, stream: bool) -> None:
    endpoint.scripted.answer = lambda _alias, _request: [
        ChatChunk(reasoning="one "), ChatChunk(reasoning="more"), ChatChunk(extra={"signature": "s1"}),
        ChatChunk(extra={"redacted_thinking": "xyz"}), ChatChunk(reasoning="two"), ChatChunk(extra={"signature": "s2"}),
        ChatChunk("done", finish="stop"),
    ]  # fmt: skip
    asked: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    if stream:
        with claude.messages.stream(**asked) as events:
            message: Any = events.get_final_message()
    else:
        message = claude.messages.create(**asked)
    first, hidden, second, text = message.content
    assert (first.thinking, first.signature) == ("one more", "s1")
    assert (hidden.type, hidden.data) == ("redacted_thinking", "xyz")
    assert (second.thinking, second.signature) == ("two", "s2")
    assert text.text == "done"

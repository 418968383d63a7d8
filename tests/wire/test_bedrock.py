"""`saas/aws_bedrock`: boto3 against a strict Bedrock of ours; the decoding of its frames is botocore's own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.types import ChatRequest, Media, Message, Usage
from tests.servers.process import Process, own
from tests.wire.conftest import ask, collect, opened, text_of

ACCESS, SECRET = "AKIAPLANTED0000000", "planted/secret+0123456789abcdef"
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with own("bedrock", f"{ACCESS}:{SECRET}") as process:
        yield process


async def connect(server: Process, **params: str) -> Any:
    given = {"aws_access_key": ACCESS, "aws_secret_key": SECRET, "region_name": "us-east-1", "model": MODEL}
    given |= {"endpoint_url": server.url} | params
    return await opened("saas/aws_bedrock", {f"saas.{name}": value for name, value in given.items()})


@pytest.fixture(params=["converse", "invoke"])
async def backend(request: pytest.FixtureRequest, server: Process) -> AsyncIterator[Any]:
    backend = await connect(server, bedrock_api=request.param)
    yield backend
    await backend.close()


@pytest.fixture
async def converse(server: Process) -> AsyncIterator[Any]:
    backend = await connect(server)
    yield backend
    await backend.close()


def last(server: Process) -> Any:
    return server.get("/journal")[-1]


@pytest.mark.parametrize("stream", [True, False])
async def test_both_apis_answer_streamed_and_whole(backend: Any, stream: bool) -> None:
    chunks = await collect(backend, ask("one two", stream=stream))
    assert text_of(chunks) == "Echo: one two"
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    assert next(chunk.usage for chunk in chunks if chunk.usage) == Usage(7, 3)
    assert len(chunks) > 3 or not stream
    said = '日本語 😀 a\u2028b \\ " {x}'
    assert text_of(await collect(backend, ask(f"say:{said}", stream=stream))) == said


async def test_a_version_asks_for_invoke_model(server: Process) -> None:
    backend = await connect(server, model_api_version="bedrock-2023-05-31")
    await collect(backend, ask("hi"))
    assert "/invoke" in last(server)["path"]
    assert last(server)["body"]["anthropic_version"] == "bedrock-2023-05-31"
    await backend.close()
    wrong = await connect(server, model_api_version="xxxx")
    with pytest.raises(errors.BadRequest, match="Invalid anthropic_version: xxxx"):
        await collect(wrong, ask("hi"))
    await wrong.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_thoughts_and_tools(converse: Any, server: Process, stream: bool) -> None:
    chunks = await collect(converse, ask("think:hmm", stream=stream))
    assert "".join(chunk.reasoning for chunk in chunks) == "hmm"
    chunks = await collect(converse, ask("tool:weather", stream=stream, tools=[TOOL], tool_choice="required"))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("t1", "weather")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert last(server)["body"]["toolConfig"]["toolChoice"] == {"any": {}}


async def test_system_pictures_options_and_results_of_tools(converse: Any, server: Process) -> None:
    look = Message("user", [{"type": "text", "text": "look"}, Media("image/jpeg", b"\xff\xd8\xff12")])
    answer = await collect(
        converse, ChatRequest(messages=[Message("system", "Be brief."), look], options={"stop": "x"})
    )
    assert text_of(answer) == "Echo: look [jpeg 5] (Be brief.)"
    assert last(server)["body"]["inferenceConfig"] == {"stopSequences": ["x"]}
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [
        Message("user", "?"),
        Message("assistant", None, tool_calls=[call]),
        Message("tool", "sun", tool_call_id="t1"),
    ]
    assert text_of(await collect(converse, ChatRequest(messages=turns))) == "Echo: <t1: sun>"
    far = Message("user", [Media("image", url="https://host/a.png")])
    with pytest.raises(errors.BadRequest, match="takes no addresses"):
        await collect(converse, ChatRequest(messages=[far]))


async def test_an_exception_in_mid_stream_keeps_what_came(converse: Any) -> None:
    seen: list[str] = []
    with pytest.raises(errors.RateLimited, match="Too many tokens"):
        async for chunk in converse.chat(ask("fault:throttle some words")):
            seen.append(chunk.text)  # noqa: PERF401 - the list must keep what came before the error
    assert seen


@pytest.mark.parametrize("wrong", [{"aws_secret_key": "other/secret"}, {"aws_access_key": "AKIAOTHER"}])
async def test_a_wrong_key_is_refused(server: Process, wrong: dict[str, str]) -> None:
    backend = await connect(server, **wrong)
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await collect(backend, ask("hi"))
    assert caught.value.details["status"] == 401
    assert not any(secret in str(caught.value) for secret in (SECRET, ACCESS, "other/secret", "AKIAOTHER"))
    await backend.close()


async def test_a_session_token_is_signed(server: Process) -> None:
    backend = await connect(server, aws_session_token="temporary")
    assert text_of(await collect(backend, ask("hi"))) == "Echo: hi"
    await backend.close()


async def test_half_a_pair_of_keys_is_an_error_before_anything_starts(server: Process) -> None:
    with pytest.raises(errors.MissingKey, match=r"saas.aws_access_key needs saas.aws_secret_key"):
        await opened("saas/aws_bedrock", {"saas.aws_access_key": "a", "saas.region_name": "r", "saas.model": "m"})


@pytest.mark.parametrize("text", ["slow:50ms " + "word " * 50_000, "fault:silence"], ids=["streaming", "silent"])
async def test_leaving_closes_the_connection_and_frees_the_thread(converse: Any, server: Process, text: str) -> None:
    async def read() -> None:
        async with aclosing(converse.chat(ask(text))) as chunks:
            async for _ in chunks:
                break

    reading = asyncio.create_task(read())
    await asyncio.wait([reading], timeout=0.5)
    reading.cancel()
    await asyncio.wait([reading])
    deadline = time.monotonic() + 5
    while not last(server).get("gone"):
        assert time.monotonic() < deadline, "the server still has its client"
        await asyncio.sleep(0.02)


async def test_many_at_once(converse: Any) -> None:
    asked = [collect(converse, ask(f"slow:300ms {number}")) for number in range(40)]
    started = time.monotonic()
    texts = [text_of(chunks) for chunks in await asyncio.gather(*asked)]
    assert texts == [f"Echo: {number}" for number in range(40)]
    assert time.monotonic() - started < 40 * 0.3 / 2, "they ran side by side"
    assert sum(thread.name.startswith("bedrock") for thread in threading.enumerate()) <= 64

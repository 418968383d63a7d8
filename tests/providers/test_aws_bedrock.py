"""`saas/aws_bedrock`: boto3 against a strict Bedrock of ours; the decoding of its frames is botocore's own."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.saas.aws_bedrock import client, schema
from byzer_magic.types import ChatChunk, ChatRequest, Media, Message, Usage
from tests.backends import ask, collect, failure, opened, refuse_streams, text_of, until_error
from tests.servers.process import Process, arrives, free_port, gone_after, last, noted_after, received
from tests.waiting import happens

ACCESS, SECRET = "AKIAPLANTED0000000", "planted/secret+0123456789abcdef"
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server(serving: Callable[..., Process]) -> Process:
    return serving("bedrock", f"{ACCESS}:{SECRET}")


async def connect(server: Process, *, slots: int = 1, **params: str) -> Any:
    given = {"aws_access_key": ACCESS, "aws_secret_key": SECRET, "region_name": "us-east-1", "model": MODEL}
    given |= {"endpoint_url": server.url} | params
    named = {f"saas.{name}": value for name, value in given.items()}
    return await opened("saas/aws_bedrock", named, concurrency=slots)


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


@pytest.mark.parametrize("stream", [True, False])
async def test_chat_returns_text_and_usage_by_both_apis(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("one two"))
    assert text_of(chunks) == "Echo: one two"
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    assert next(chunk.usage for chunk in chunks if chunk.usage) == Usage(7, 3)
    assert len(chunks) > 3 or not stream
    text = '日本語 😀 a\u2028b \\ " {x}'
    assert text_of(await collect(backend, ask(f"say:{text}"))) == text


async def test_model_api_version_selects_invoke_model(server: Process) -> None:
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
async def test_chat_returns_reasoning_and_tool_calls(converse: Any, server: Process, stream: bool) -> None:
    if not stream:
        await refuse_streams(converse)
    chunks = await collect(converse, ask("think:hmm"))
    assert "".join(chunk.reasoning for chunk in chunks) == "hmm"
    chunks = await collect(converse, ask("tool:weather", tools=[TOOL], tool_choice="required"))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("t1", "weather")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert last(server)["body"]["toolConfig"]["toolChoice"] == {"any": {}}


async def test_converse_receives_system_images_options_and_tool_results(converse: Any, server: Process) -> None:
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
    with pytest.raises(errors.BadRequest, match="does not accept image URLs"):
        await collect(converse, ChatRequest(messages=[far]))


@pytest.mark.parametrize("wrong", [{"aws_secret_key": "other/secret"}, {"aws_access_key": "AKIAOTHER"}])
async def test_wrong_key_raises_authentication_failed(server: Process, wrong: dict[str, str]) -> None:
    backend = await connect(server, **wrong)
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await collect(backend, ask("hi"))
    assert caught.value.details["status"] == 401
    assert not any(secret in str(caught.value) for secret in (SECRET, ACCESS, "other/secret", "AKIAOTHER"))
    await backend.close()


async def test_session_token_is_signed(server: Process) -> None:
    backend = await connect(server, aws_session_token="temporary")
    assert text_of(await collect(backend, ask("hi"))) == "Echo: hi"
    await backend.close()


async def test_check_rejects_half_a_pair_of_keys(server: Process) -> None:
    with pytest.raises(errors.MissingKey, match=r"saas.aws_access_key needs saas.aws_secret_key"):
        await opened("saas/aws_bedrock", {"saas.aws_access_key": "a", "saas.region_name": "r", "saas.model": "m"})


FAULTS = [
    ("fault:401", errors.AuthenticationFailed, "security token included"),
    ("fault:403", errors.AuthenticationFailed, "don't have access"),
    ("fault:404", errors.ModelNotFound, "end of its life"),
    ("fault:context", errors.ContextTooLong, "Input is too long"),
    ("fault:limit", errors.ContextTooLong, "exceed context limit"),
    ("fault:titan", errors.ContextTooLong, "Too many input tokens"),
    ("fault:429", errors.RateLimited, "Too many requests"),
    ("fault:500", errors.ProviderUnavailable, "unexpected error"),
    ("fault:529", errors.ProviderUnavailable, "unable to process"),
    ("fault:refuse", errors.ProviderUnavailable, "connection closed"),
    ("fault:silence", errors.DeadlineExceeded, "timed out"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", ["converse", "invoke"])
async def test_error_responses_become_our_errors(server: Process, api: str, stream: bool) -> None:
    for text, kind, words in FAULTS:
        backend = await connect(server, bedrock_api=api, timeout="0.5" if kind is errors.DeadlineExceeded else "60")
        if not stream:
            await refuse_streams(backend)
        error = await failure(backend, text)
        assert type(error) is kind, error
        assert words in error.message
        assert not any(part in f"{error} {error.details}" for part in (ACCESS, SECRET))
        await backend.close()


@pytest.mark.parametrize("fault", ["truncate", "reset", "garbage", "throttle", "hang"])
async def test_stream_keeps_text_before_an_error(server: Process, fault: str) -> None:
    kinds = {"truncate": errors.StreamTruncated, "throttle": errors.RateLimited, "hang": errors.DeadlineExceeded}
    for api in ("converse", "invoke"):
        for seconds in ("0.5", "5", "60"):  # on a busy machine, even the beginning may take half a second
            backend = await connect(server, bedrock_api=api, timeout=seconds if fault == "hang" else "60")
            seen, error = await until_error(backend.chat(ask(f"fault:{fault} some words, enough for a few parts")))
            await backend.close()
            assert isinstance(error, kinds.get(fault, errors.ProviderUnavailable))
            if seen or fault != "hang":
                break
        assert text_of(seen).startswith("Echo:")


async def test_last_chunk_has_the_request_id(backend: Any) -> None:
    for _ in range(2):
        chunks = await collect(backend, ask("hi"))
        assert [(chunk.extra or {}).get("request_id") for chunk in chunks if chunk.finish] == ["r-1"]
        await refuse_streams(backend)


async def test_malformed_messages_raise_bad_request(converse: Any) -> None:
    for options in ({"tools": [{"x": 1}]}, {"temperature": "warm"}):
        with pytest.raises(errors.BadRequest):
            await collect(converse, ask("hi", **options))
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{no"}}
    turns = [Message("user", "?"), Message("assistant", None, tool_calls=[call])]
    with pytest.raises(errors.BadRequest, match="not a JSON object"):
        await collect(converse, ChatRequest(messages=turns))


async def test_invoke_model_rejects_image_urls(server: Process) -> None:
    backend = await connect(server, bedrock_api="invoke")
    far = Message("user", [{"type": "image_url", "image_url": {"url": "https://host/a.png"}}])
    with pytest.raises(errors.BadRequest, match="does not accept image URLs"):
        await collect(backend, ChatRequest(messages=[far]))
    near = Message("user", [{"type": "text", "text": "look"}, Media("image/png", b"\x89PNG")])
    assert text_of(await collect(backend, ChatRequest(messages=[near]))).startswith("Echo: look")
    await backend.close()


async def test_extra_body_of_deployment_and_request_are_merged(server: Process) -> None:
    backend = await connect(server, extra_body='{"top_k": 5, "a": 1}')
    await collect(backend, ask("hi", extra_body={"a": 2}))
    assert last(server)["body"]["additionalModelRequestFields"] == {"top_k": 5, "a": 2}
    await backend.close()


async def test_missing_credentials_name_the_parameters(server: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    given = {"saas.region_name": "us-east-1", "saas.model": MODEL}
    backend = await opened("saas/aws_bedrock", given | {"saas.endpoint_url": server.url})
    with pytest.raises(errors.AuthenticationFailed, match="boto3 found no credentials"):
        await collect(backend, ask("hi"))
    await backend.close()
    with pytest.raises(errors.BadParameter, match="nobody"):
        await opened("saas/aws_bedrock", given | {"saas.aws_profile": "nobody"})


async def test_closed_port_raises_provider_unavailable(server: Process) -> None:
    for wrong in ({"endpoint_url": f"http://127.0.0.1:{free_port()}"}, {"proxies": f"http://127.0.0.1:{free_port()}"}):
        backend = await connect(server, **wrong)
        with pytest.raises(errors.ProviderUnavailable, match="Cannot connect to"):
            await collect(backend, ask("hi"))
        await backend.close()


async def test_api_key_is_sent_as_bearer_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.awsrequest import AWSResponse

    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bearer-of-another")
    before = dict(os.environ)
    backend = await opened(
        "saas/aws_bedrock", {"saas.api_key": "bearer-planted", "saas.region_name": "us-east-1", "saas.model": MODEL}
    )
    sent, body = list[Any](), SimpleNamespace(stream=lambda: [b'{"message": "No access for bearer-planted."}'])

    def answer(request: Any, **_: Any) -> Any:
        sent.append(request.headers["Authorization"])
        return AWSResponse(request.url, 403, {"x-amzn-ErrorType": "AccessDeniedException"}, body)

    backend._client.meta.events.register("before-send.bedrock-runtime", answer)
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await collect(backend, ask("hi"))
    assert [header.decode() if isinstance(header, bytes) else header for header in sent] == ["Bearer bearer-planted"]
    assert "bearer-planted" not in str(caught.value)
    assert dict(os.environ) == before, "a test in a form runs in the notebook's kernel, and all that starts there"
    await backend.close()


@pytest.mark.parametrize("text", ["fault:silence", "fault:hang some words"])
async def test_closing_aborts_connection_and_frees_thread(converse: Any, server: Process, text: str) -> None:
    before = received(server)
    reading = asyncio.create_task(collect_from(converse.chat(ask(text))))
    await arrives(server, before)
    left = time.time()
    reading.cancel()
    await asyncio.wait([reading])
    assert await gone_after(server, left) >= 0
    await converse.close()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("bedrock")]
    assert await happens(lambda: not any(thread.is_alive() for thread in threads))


async def collect_from(chunks: Any) -> None:
    async with aclosing(chunks):
        async for _ in chunks:
            pass


async def test_request_closed_at_once_is_not_sent(converse: Any, server: Process) -> None:
    before = received(server)
    for _ in range(5):
        reading = asyncio.create_task(collect_from(converse.chat(ask("fault:silence"))))
        await asyncio.wait([reading], timeout=0.001)
        reading.cancel()
        await asyncio.wait([reading])
    await asyncio.sleep(1)
    assert await happens(lambda: all("gone" in entry for entry in noted_after(server, before)))


@pytest.mark.parametrize("stream", [True, False])
async def test_closing_does_not_abort_the_next_request(converse: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(converse)
    numbers = iter(range(300))

    async def several() -> None:
        for number in numbers:
            assert text_of(await collect(converse, ask(f"n {number}"))) == f"Echo: n {number}"

    await asyncio.gather(*(several() for _ in range(24)))


async def test_concurrency_equals_the_slots(server: Process) -> None:
    backend = await connect(server, slots=100)
    before = received(server)
    asked = [collect(backend, ask(f"slow:1500ms {number}")) for number in range(100)]
    texts = [text_of(chunks) for chunks in await asyncio.gather(*asked)]
    assert texts == [f"Echo: {number}" for number in range(100)]
    came = [entry["at"] for entry in noted_after(server, before)]
    assert max(came) - min(came) < 5, "the last came before the first was answered"
    await backend.close()


def test_converse_reads_what_botocore_leaves_as_it_is() -> None:
    reader = schema.Reader()
    text = reader.chunk({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi \ud83d"}}})
    usage = reader.chunk({"metadata": {"usage": {"inputTokens": 10**30, "outputTokens": 2}}})
    assert text == ChatChunk("Hi \ufffd")
    assert usage == ChatChunk(usage=Usage(0, 2))
    assert reader.repaired


async def test_data_of_botocore_is_read_once_for_all_deployments(server: Process) -> None:
    counts = []
    for _deployment in range(2):  # whichever comes first reads it
        backend = await connect(server)
        await collect(backend, ask("hi"))
        await backend.close()
        counts.append(client._data_files().load_file.cache_info().misses)
    assert counts[0] == counts[1] > 0

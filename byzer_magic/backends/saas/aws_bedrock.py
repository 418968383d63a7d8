"""Models at AWS Bedrock, through boto3: Converse for any of them, or InvokeModel with an Anthropic body.

boto3 has no asyncio: each request has a thread of its own while it runs. SDK settings:
https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/bedrock-runtime.html.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from typing import Any, ClassVar, Self

from byzer_magic import catalog
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.wires import anthropic_shapes, bedrock_shapes
from byzer_magic.backends.wires.bedrock_client import CODES, HINTS, LINES, Line, connect, said, threads
from byzer_magic.backends.wires.failures import Caller
from byzer_magic.backends.wires.openai_shapes import text_or_json
from byzer_magic.backends.wires.params import (
    CAPABILITIES,
    EXTRA_BODY,
    MODEL,
    PROXIES,
    RETRIES,
    TIMEOUT,
    check_objects,
    check_url,
    secrets_of,
)
from byzer_magic.capabilities import Capability
from byzer_magic.errors import ByzerError, MissingKey, StreamTruncated
from byzer_magic.types import ChatChunk, ChatRequest

ANTHROPIC_VERSION = "bedrock-2023-05-31"
"""Of InvokeModel's Anthropic body, as Bedrock documents it."""
_OPTIONS = {
    "max_tokens": ("int", "longest answer, in tokens"),
    "temperature": ("float", "0 is always the likeliest word"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "stop": ("text", "text, or a JSON list of texts, at which the answer ends"),
    "tools": ("json", "functions that the model may call, as a JSON list"),
}


def _secret(name: str, text: str, *env: str) -> Param:
    return Param(name=f"saas.{name}", help=text, secret=True, env=env)


def _text(name: str, text: str, *env: str) -> Param:
    return Param(name=f"saas.{name}", help=text, env=env)


class BedrockBackend(Backend):
    """One boto3 client; an instance serves all slots of a pool."""

    info: ClassVar[Info] = Info(
        kind="saas/aws_bedrock",
        title="AWS Bedrock",
        params=(
            _secret("aws_access_key", "access key; without any, boto3 looks where it always does", "AWS_ACCESS_KEY_ID"),
            _secret("aws_secret_key", "secret key", "AWS_SECRET_ACCESS_KEY"),
            _secret("aws_session_token", "session token of temporary keys", "AWS_SESSION_TOKEN"),
            _secret("api_key", "Bedrock API key, instead of the keys above", "AWS_BEARER_TOKEN_BEDROCK"),
            _text("aws_profile", "profile of ~/.aws/config to take keys from", "AWS_PROFILE"),
            Param(
                name="saas.region_name",
                help="region, e.g. us-east-1",
                required=True,
                env=("AWS_REGION", "AWS_DEFAULT_REGION"),
            ),
            MODEL,
            Param(
                name="saas.bedrock_api",
                help="Converse for any model, or InvokeModel with an Anthropic body",
                choices=("converse", "invoke"),
            ),
            _text("model_api_version", f"asks for InvokeModel, with this version ({ANTHROPIC_VERSION})"),
            _text("endpoint_url", "another address of Bedrock", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
            TIMEOUT, RETRIES, PROXIES, EXTRA_BODY, CAPABILITIES,
            *(Param(name=f"saas.{name}", kind=kind, help=help_) for name, (kind, help_) in _OPTIONS.items()),
        ),
        requires=("boto3",),
        extra="bedrock",
    )  # fmt: skip

    def __init__(self, setup: Setup, client: Any) -> None:
        params = setup.params
        self._client = client
        self._params = params
        self._model: str = params["saas.model"]
        self._invokes = (
            params.get("saas.bedrock_api", "invoke" if "saas.model_api_version" in params else "") == "invoke"
        )
        self._version = params.get("saas.model_api_version", ANTHROPIC_VERSION)
        self._defaults = _defaults(params)
        self._caller = Caller(self._model, client.meta.endpoint_url, secrets_of(params), HINTS, CODES)
        self._threads = ThreadPoolExecutor(threads(setup), thread_name_prefix="bedrock")

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that keys come in pairs, and the address."""
        params = setup.params
        for one, other in (("aws_access_key", "aws_secret_key"), ("aws_secret_key", "aws_access_key")):
            if f"saas.{one}" in params and f"saas.{other}" not in params:
                hint = f"Add --infer_params saas.{other}=..., or give neither: boto3 then looks for keys itself."
                raise MissingKey(f"saas.{one} needs saas.{other}.", hint, param=f"saas.{other}")
        check_url(params, "saas.endpoint_url", "https://bedrock-runtime.us-east-1.amazonaws.com")
        check_objects(params)
        catalog.capabilities(params["saas.model"], params.get("saas.capabilities"))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import boto3 in a thread and make the client; nothing is sent yet."""
        report("importing boto3", None)
        return cls(setup, await asyncio.to_thread(connect, setup))

    async def close(self) -> None:
        """Close all connections; threads end with their requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def abilities(self) -> frozenset[Capability]:
        """Return what the model can do, as its name or `saas.capabilities` tells."""
        can = frozenset({Capability.CHAT, Capability.VISION, Capability.TOOLS})
        return can & catalog.capabilities(self._model, self._params.get("saas.capabilities"))

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it comes; closing the iterator closes the provider's connection.

        Raises:
            ProviderError: the provider refused or failed; its own sentence is in the message.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        answer = self._invoke(request) if self._invokes else self._converse(request)
        async with aclosing(self._in_thread(answer)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _converse(self, request: ChatRequest) -> Iterator[ChatChunk]:
        given = {"modelId": self._model, **bedrock_shapes.arguments(request, self._defaults)}
        if not request.stream:
            return self._one(lambda: self._client.converse(**given), bedrock_shapes.whole)
        reader = bedrock_shapes.Reader()
        return self._events(lambda: self._client.converse_stream(**given)["stream"], reader, lambda event: event)

    def _invoke(self, request: ChatRequest) -> Iterator[ChatChunk]:
        body = {"anthropic_version": self._version, **anthropic_shapes.body(request, self._defaults)}
        given = {"modelId": self._model, "contentType": "application/json", "body": json.dumps(body)}
        if not request.stream:
            return self._one(
                lambda: self._client.invoke_model(**given)["body"].read(),
                lambda data: anthropic_shapes.whole(json.loads(data)),
            )
        start = lambda: self._client.invoke_model_with_response_stream(**given)["body"]  # noqa: E731 - two calls long
        return self._events(start, anthropic_shapes.Reader(), lambda event: json.loads(event["chunk"]["bytes"]))

    @staticmethod
    def _one(call: Callable[[], Any], read: Callable[[Any], ChatChunk]) -> Iterator[ChatChunk]:
        yield read(call())

    def _events(self, start: Callable[[], Any], reader: Any, read: Callable[[Any], Any]) -> Iterator[ChatChunk]:
        with closing(start()) as events:
            for event in events:
                if chunk := reader.chunk(read(event)):
                    yield chunk
        if not reader.finished:
            raise StreamTruncated(
                f"{self._caller.host} ended the stream before {self._model} had finished.",
                "The text so far is incomplete; ask again.",
                provider=self._caller.host,
            )

    async def _in_thread(self, answer: Iterator[ChatChunk]) -> AsyncGenerator[ChatChunk, None]:
        """Yield what `answer` yields in a thread; leaving shuts its connection, so that the thread ends, too."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[ChatChunk | ByzerError | None] = asyncio.Queue()
        line = Line()

        def put(item: ChatChunk | ByzerError | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        def work() -> None:
            LINES.line = line
            try:
                for chunk in answer:
                    if line.left:
                        return
                    put(chunk)
                put(None)
            except Exception as err:  # noqa: BLE001 - whatever it is, it belongs to the request
                put(said(err, self._caller))

        self._threads.submit(work)
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, ByzerError):
                    raise item
                yield item
        finally:
            line.leave()


def _defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: params[f"saas.{name}"] for name in _OPTIONS if f"saas.{name}" in params}
    found |= {"stop": text_or_json(found["stop"])} if "stop" in found else {}
    return {**found, **({"extra_body": params["saas.extra_body"]} if "saas.extra_body" in params else {})}


BACKEND = BedrockBackend

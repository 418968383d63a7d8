"""Models at AWS Bedrock, through boto3: Converse for any of them, or InvokeModel with an Anthropic body.

boto3 has no asyncio: each request has a thread of its own while it runs. SDK settings:
https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/bedrock-runtime.html.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.anthropic import schema as anthropic_schema
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http.errors import Endpoint, truncated
from byzer_magic.backends.http.params import (
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
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.backends.saas.aws_bedrock import schema
from byzer_magic.backends.saas.aws_bedrock.client import CODES, HINTS, LINES, Line, connect, said, threads
from byzer_magic.capabilities import Capability
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, MissingKey
from byzer_magic.types import ChatChunk, ChatRequest

ANTHROPIC_VERSION = "bedrock-2023-05-31"
"""Of InvokeModel's Anthropic body, as Bedrock documents it."""
_ACCESS = "saas.aws_access_key"
"""Where it is given, no part of other keys is taken from the environment."""
_OPTIONS = {
    "max_tokens": ("int", "longest answer, in tokens"),
    "temperature": ("float", "0 is always the likeliest word"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "stop": ("text", "text, or a JSON list of texts, at which the answer ends"),
    "tools": ("json", "functions that the model may call, as a JSON list"),
}


LEAVE_AGAIN_SECONDS = 0.02
"""Between two tries to end a request in its thread: one that is still connecting has nothing yet to be shut."""


def _secret(name: str, text: str, *env: str, env_unless: str = "") -> Param:
    return Param(name=f"saas.{name}", help=text, secret=True, env=env, env_unless=env_unless)


def _text(name: str, text: str, *env: str) -> Param:
    return Param(name=f"saas.{name}", help=text, env=env)


Answer = Generator[ChatChunk, None, None]
"""An answer as it is read in a thread."""


class BedrockBackend(Backend):
    """One boto3 client; an instance serves all slots of a pool."""

    info: ClassVar[Info] = Info(
        kind="saas/aws_bedrock",
        title="AWS Bedrock",
        params=(
            _secret("aws_access_key", "access key; without any, boto3 looks where it always does", "AWS_ACCESS_KEY_ID"),
            _secret("aws_secret_key", "secret key", "AWS_SECRET_ACCESS_KEY", env_unless=_ACCESS),
            _secret("aws_session_token", "session token of temporary keys", "AWS_SESSION_TOKEN", env_unless=_ACCESS),
            _secret(
                "api_key", "Bedrock API key, instead of the keys above", "AWS_BEARER_TOKEN_BEDROCK", env_unless=_ACCESS
            ),
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
        url, secrets = client.meta.endpoint_url, secrets_of(params)
        self._endpoint = Endpoint(self._model, url, secrets, HINTS, CODES, schema.PATTERNS)
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
        model_facts.capabilities(params["saas.model"], params.get("saas.capabilities"))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import boto3 in a thread and make the client; nothing is sent yet.

        Raises:
            BadParameter: boto3 does not accept the settings, for example a profile that is not there.
        """
        report("importing boto3", None)
        return cls(setup, await asyncio.to_thread(_connected, setup))

    async def close(self) -> None:
        """Close all connections; threads end with their requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do, as its name or `saas.capabilities` tells."""
        can = frozenset({Capability.CHAT, Capability.VISION, Capability.TOOLS})
        return can & model_facts.capabilities(self._model, self._params.get("saas.capabilities"))

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it comes; closing the iterator closes the provider's connection.

        Raises:
            ProviderError: the provider refused or failed; its own sentence is in the message.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        async with aclosing(self._in_thread(self._answer(request))) as chunks:
            async for chunk in chunks:
                yield chunk

    def _answer(self, request: ChatRequest) -> Answer:
        extra = {**self._defaults.get("extra_body", {}), **(request.options.get("extra_body") or {})}
        request = msgspec.structs.replace(request, options={**request.options, "extra_body": extra})
        try:
            return self._invoke(request) if self._invokes else self._converse(request)
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            why = f"{type(err).__name__}: {self._endpoint.redacted(str(err))}"
            raise BadRequest(
                f"A message or a tool is not in OpenAI's form: {why}", "Compare it with OpenAI's reference."
            ) from None

    def _converse(self, request: ChatRequest) -> Answer:
        given = {"modelId": self._model, **schema.arguments(request, self._defaults)}
        if not request.stream:
            return self._one(lambda: self._client.converse(**given), schema.complete)
        events = schema.Reader()
        return self._events(lambda: self._client.converse_stream(**given), "stream", events, lambda event: event)

    def _invoke(self, request: ChatRequest) -> Answer:
        body = {"anthropic_version": self._version, **anthropic_schema.body(request, self._defaults)}
        schema.check_pictures(body)
        given = {"modelId": self._model, "contentType": "application/json", "body": json.dumps(body)}
        if not request.stream:
            return self._one(
                lambda: self._client.invoke_model(**given),
                lambda answer: anthropic_schema.complete(json.loads(answer["body"].read())),
            )
        return self._events(
            lambda: self._client.invoke_model_with_response_stream(**given),
            "body",
            anthropic_schema.Reader(),
            lambda event: json.loads(event["chunk"]["bytes"]),
        )

    @staticmethod
    def _one(call: Callable[[], Any], read: Callable[[Any], ChatChunk]) -> Answer:
        answer = call()
        yield schema.named(read(answer), answer)

    def _events(self, call: Callable[[], Any], name: str, reader: Any, read: Callable[[Any], Any]) -> Answer:
        answer = call()
        with closing(answer[name]) as events:
            for event in events:
                if chunk := reader.chunk(read(event)):
                    yield schema.named(chunk, answer) if chunk.finish else chunk
        if not reader.finished:
            raise truncated(self._endpoint)

    async def _in_thread(self, answer: Answer) -> AsyncGenerator[ChatChunk, None]:
        """Yield what `answer` yields in a thread; leaving shuts its connection, so that the thread ends, too."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[ChatChunk | ByzerError | None] = asyncio.Queue()
        line = Line()

        def put(item: ChatChunk | ByzerError | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        talk = self._threads.submit(lambda: put(self._talk(answer, line, put)))
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, ByzerError):
                    raise item
                yield item
        finally:
            _leave(loop, line, talk)

    def _talk(self, answer: Answer, line: Line, put: Callable[[ChatChunk], None]) -> ByzerError | None:
        """Hand over what `answer` yields; return the error that ended it, or None."""
        LINES.line = line
        try:
            with closing(answer):
                while not line.left and (chunk := next(answer, None)) is not None:
                    put(chunk)
        except Exception as err:  # noqa: BLE001 - whatever it is, it belongs to the request
            return schema.failure(err, self._endpoint) or said(err, self._endpoint)
        finally:
            line.connection = None  # it is back in the pool, and may be another request's: it must not be shut now
        return None


def _leave(loop: asyncio.AbstractEventLoop, line: Line, talk: Future[None]) -> None:
    """Shut the line of a request, again and again until its thread has noticed."""
    if talk.cancel() or talk.done():
        return
    line.leave()
    loop.call_later(LEAVE_AGAIN_SECONDS, _leave, loop, line, talk)


def _connected(setup: Setup) -> Any:
    from botocore.exceptions import BotoCoreError  # SDKs are imported by the deployments that use them

    try:
        return connect(setup)
    except (BotoCoreError, ValueError) as err:
        why = Endpoint("", "", secrets_of(setup.params)).redacted(str(err))
        hint = "Check saas.aws_profile, saas.region_name and saas.endpoint_url."
        raise BadParameter(f"boto3 does not accept the settings: {why}", hint) from None


def _defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: params[f"saas.{name}"] for name in _OPTIONS if f"saas.{name}" in params}
    found |= {"stop": text_or_json(found["stop"])} if "stop" in found else {}
    return {**found, **({"extra_body": params["saas.extra_body"]} if "saas.extra_body" in params else {})}


BACKEND = BedrockBackend

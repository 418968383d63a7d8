"""Models at AWS Bedrock, through boto3: Converse for any of them, or InvokeModel with an Anthropic body.

boto3 has no asyncio: each request has a thread of its own while it runs. SDK settings:
https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/bedrock-runtime.html.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, closing, nullcontext, suppress
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.anthropic import schema as anthropic_schema
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http.answers import AnswerReader
from byzer_magic.backends.http.errors import Endpoint, not_openai_schema
from byzer_magic.backends.http.messages import with_request_id
from byzer_magic.backends.http.params import (
    CAPABILITIES,
    CHAT_OPTIONS,
    EXTRA_BODY,
    MODEL,
    PROXY,
    RETRIES,
    TIMEOUT,
    VERIFY,
    check_objects,
    check_url,
    given,
    option_params,
    secrets_of,
)
from byzer_magic.backends.http.received import ANSWER, STREAM, Limit
from byzer_magic.backends.http.terms import Agreement, Terms
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.backends.saas.aws_bedrock import schema
from byzer_magic.backends.saas.aws_bedrock.client import CODES, HINTS, connect, from_boto3, threads
from byzer_magic.backends.saas.aws_bedrock.received import CURRENT, ConnectionHandle
from byzer_magic.capabilities import Capability
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter, ByzerError, MissingKey
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, ChatRequest

ANTHROPIC_VERSION = "bedrock-2023-05-31"
"""The version of InvokeModel's Anthropic body: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html."""
_ACCESS = "saas.aws_access_key"
"""When it is given, no part of other keys is taken from the environment."""
_OPTIONS = {name: CHAT_OPTIONS[name] for name in ("max_tokens", "temperature", "top_p", "stop", "tools")}
MAX_WAITING = 1000
"""Chunks that are buffered for a slow reader; while the buffer is full, the reading thread waits."""
ROOM_SECONDS = 0.1
"""How often a thread that waits for room looks whether its request still exists."""
ABORT_AGAIN_SECONDS = 0.02
"""Between two attempts to abort a request: while its thread is still connecting, there is no socket to shut down."""


def _secret(name: str, text: str, *env: str, **more: Any) -> Param:
    return Param(name=f"saas.{name}", help=text, secret=True, env=env, **more)


def _text(name: str, text: str, *env: str) -> Param:
    return Param(name=f"saas.{name}", help=text, env=env)


Chunks = Generator[ChatChunk, None, None]
"""A response as it is read in a thread."""


class BedrockBackend(Backend):
    """One boto3 client; an instance serves all slots of a pool."""

    info: ClassVar[Info] = Info(
        kind="saas/aws_bedrock",
        title="AWS Bedrock",
        params=(
            _secret("aws_access_key", _("access key ID (default: as boto3 finds it)"), "AWS_ACCESS_KEY_ID"),
            _secret("aws_secret_key", _("secret key"), "AWS_SECRET_ACCESS_KEY", env_unless=_ACCESS),
            _secret("aws_session_token", _("session token of temporary keys"), "AWS_SESSION_TOKEN", env_unless=_ACCESS),
            _secret(
                "api_key",
                _("Bedrock API key, instead of these keys; several, separated by commas, take turns"),
                "AWS_BEARER_TOKEN_BEDROCK",
                env_unless=_ACCESS,
                several=True,
            ),
            _text("aws_profile", _("profile in ~/.aws/config that provides the keys"), "AWS_PROFILE"),
            Param(
                name="saas.region_name",
                help=_("region, such as us-east-1"),
                required=True,
                env=("AWS_REGION", "AWS_DEFAULT_REGION"),
            ),
            MODEL,
            Param(
                name="saas.bedrock_api",
                help=_("Converse for any model, or InvokeModel with an Anthropic body"),
                choices=("converse", "invoke"),
            ),
            _text(
                "model_api_version", _("use InvokeModel with this API version ({version})", version=ANTHROPIC_VERSION)
            ),
            _text("endpoint_url", _("custom endpoint URL of Bedrock"), "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
            TIMEOUT, RETRIES, PROXY, VERIFY, EXTRA_BODY, CAPABILITIES,
            *option_params(_OPTIONS),
        ),
        requires=("boto3",),
        extra="bedrock",
        finds_keys=True,
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
        self._agreement = Agreement()
        url, secrets = client.meta.endpoint_url, secrets_of(params)
        self._endpoint = Endpoint(self._model, url, secrets, HINTS, CODES, schema.PATTERNS, setup.network)
        self._threads = ThreadPoolExecutor(threads(setup), thread_name_prefix="bedrock")

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that keys come in pairs, and the URL.

        Raises:
            MissingKey: one of the two keys is missing.
            BadParameter: the URL or a JSON parameter is not valid.
        """
        params = setup.params
        for one, other in (("aws_access_key", "aws_secret_key"), ("aws_secret_key", "aws_access_key")):
            if f"saas.{one}" in params and f"saas.{other}" not in params:
                hint = _(
                    "Add --infer_params saas.{name}=..., or leave out both to let boto3 find the credentials.",
                    name=other,
                )
                message = _("saas.{name} needs saas.{other}.", name=one, other=other)
                raise MissingKey(message, hint, param=f"saas.{other}")
        check_url(params, "saas.endpoint_url", "https://bedrock-runtime.us-east-1.amazonaws.com")
        check_objects(params)
        model_facts.capabilities(params["saas.model"], params.get("saas.capabilities"))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import boto3 in a thread and make the client; nothing is sent yet.

        Raises:
            BadParameter: boto3 does not accept the settings, for example a profile that does not exist.
        """
        report(_("importing {name}", name="boto3"))
        return cls(setup, await asyncio.to_thread(_connected, setup))

    async def close(self) -> None:
        """Close all connections; threads end with their requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return the model's capabilities, by its name or `saas.capabilities`."""
        can = frozenset({Capability.CHAT, Capability.VISION, Capability.TOOLS})
        return can & model_facts.capabilities(self._model, self._params.get("saas.capabilities"))

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it arrives; closing the iterator closes the connection.

        Raises:
            ProviderError: the provider refused or failed; the message quotes its own text.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """

        def attempt(terms: Terms) -> AsyncGenerator[ChatChunk, None]:
            return self._in_thread(self._response(request, terms), STREAM if terms.stream else ANSWER)

        async with aclosing(self._agreement.chunks(request.options, self._defaults, attempt)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _response(self, request: ChatRequest, terms: Terms) -> Chunks:
        extra = {**self._defaults.get("extra_body", {}), **(request.options.get("extra_body") or {})}
        request = msgspec.structs.replace(request, options={**request.options, "extra_body": extra})
        try:
            return self._invoke(request, terms) if self._invokes else self._converse(request, terms)
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            raise not_openai_schema(err, self._endpoint) from None

    def _converse(self, request: ChatRequest, terms: Terms) -> Chunks:
        given = {"modelId": self._model, **schema.arguments(request, self._defaults)}
        reader = schema.Reader()
        if not terms.stream:
            return self._chunks(
                lambda: self._client.converse(**given), reader, lambda response: nullcontext([response])
            )
        return self._chunks(
            lambda: self._client.converse_stream(**given), reader, lambda response: closing(response["stream"])
        )

    def _invoke(self, request: ChatRequest, terms: Terms) -> Chunks:
        body = {"anthropic_version": self._version, **anthropic_schema.body(request, self._defaults)}
        schema.check_images(body)
        given = {"modelId": self._model, "contentType": "application/json", "body": json.dumps(body)}
        reader = anthropic_schema.Reader()
        if not terms.stream:
            return self._chunks(
                lambda: self._client.invoke_model(**given),
                reader,
                lambda response: nullcontext([response["body"].read()]),
            )
        return self._chunks(
            lambda: self._client.invoke_model_with_response_stream(**given),
            reader,
            lambda response: closing(response["body"]),
            lambda event: event.get("chunk", {}).get("bytes", b""),
        )

    def _chunks(
        self,
        call: Callable[[], Any],
        reader: AnswerReader,
        events_of: Callable[[Any], AbstractContextManager[Iterable[Any]]],
        read: Callable[[Any], Any] = lambda event: event,
    ) -> Chunks:
        """Yield the chunks of a response; what happens after its end is no error.

        Args:
            call: sends the request.
            reader: reads an event.
            events_of: returns the events of the response, or the response as the only one.
            read: returns what `reader` reads of an event.
        """
        response = call()
        request_id = schema.request_id(response)
        with events_of(response) as events:
            try:
                for event in events:
                    if chunk := reader.chunk(read(event)):
                        yield with_request_id(chunk, request_id) if chunk.finish else chunk
            except Exception:  # whatever the connection does once the answer is complete
                if not reader.finished:
                    raise
        if last := reader.end(self._endpoint):
            yield with_request_id(last, request_id) if last.finish else last

    async def _in_thread(self, chunks: Chunks, limit: Limit) -> AsyncGenerator[ChatChunk, None]:
        """Yield what `chunks` yields in a thread; closing aborts its connection, so that the thread ends, too."""
        loop = asyncio.get_running_loop()
        received: asyncio.Queue[ChatChunk | ByzerError | None] = asyncio.Queue()
        handle, room = ConnectionHandle(limit), threading.Semaphore(MAX_WAITING)

        def put(item: ChatChunk | ByzerError | None) -> None:
            while not room.acquire(timeout=ROOM_SECONDS):
                if handle.aborted:
                    return
            with suppress(RuntimeError):  # the loop is closed: nothing waits any more
                loop.call_soon_threadsafe(received.put_nowait, item)

        future = self._threads.submit(lambda: put(self._read(chunks, handle, put)))
        try:
            while (item := await received.get()) is not None:
                room.release()
                if isinstance(item, ByzerError):
                    raise item
                yield item
        finally:
            _abort(loop, handle, future)

    def _read(self, chunks: Chunks, handle: ConnectionHandle, put: Callable[[ChatChunk], None]) -> ByzerError | None:
        """Put what `chunks` yields; return the error that ended it, or None."""
        CURRENT.handle = handle
        try:
            with closing(chunks):
                while not handle.aborted and (chunk := next(chunks, None)) is not None:
                    put(chunk)
        except Exception as err:  # noqa: BLE001 - whatever it is, it belongs to the request
            return schema.from_botocore(err, self._endpoint) or from_boto3(err, self._endpoint)
        finally:
            handle.connection = None  # it is back in the pool, perhaps already with another request
        return None


def _abort(loop: asyncio.AbstractEventLoop, handle: ConnectionHandle, future: Future[None]) -> None:
    """Shut a request's connection down, repeatedly until its thread has ended."""
    if future.cancel() or future.done():
        return
    handle.abort()
    loop.call_later(ABORT_AGAIN_SECONDS, _abort, loop, handle, future)


def _connected(setup: Setup) -> Any:
    from botocore.exceptions import BotoCoreError  # SDKs are imported by the deployments that use them

    try:
        return connect(setup)
    except (BotoCoreError, ValueError) as err:
        reason = Endpoint("", "", secrets_of(setup.params)).redacted(str(err))
        hint = _("Check saas.aws_profile, saas.region_name and saas.endpoint_url.")
        raise BadParameter(_("boto3 rejected the settings: {reason}", reason=reason), hint) from None


def _defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    found = given(params, _OPTIONS)
    found |= {"stop": text_or_json(found["stop"])} if "stop" in found else {}
    return {**found, **({"extra_body": params["saas.extra_body"]} if "saas.extra_body" in params else {})}


BACKEND = BedrockBackend

"""Alibaba's DashScope by its own wire, which `saas/qianwen` and `saas/qianwen_vl` share.

Requests and answers: https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope; errors:
https://www.alibabacloud.com/help/en/model-studio/error-code. The gateway serves each model at one of two paths, and
answers at the other with "url error": the name is a first guess, and that answer corrects it (the same is done by the
official SDK, https://pypi.org/project/dashscope/, in acli/providers/tongyi.py). A request to stream gets its refusals
with status 200, as an `event:error`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.dashscope import schema
from byzer_magic.backends.http import errors as http_errors, params, sse
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.capabilities import Capability, methods_of
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter, BadRequest
from byzer_magic.types import ChatChunk, ChatRequest

BASE_URL = "https://dashscope.aliyuncs.com/api/v1"
TEXT = "/services/aigc/text-generation/generation"
MULTIMODAL = "/services/aigc/multimodal-generation/generation"

SEES = "*-vl *-vl-* qvq* *-omni* *-ocr* *-audio* qwen3.5-* qwen3.6-* qwen3.7-* qwen3.8-*"
"""Models that are served at `MULTIMODAL`, whatever is asked of them..."""
BLIND = "qwen3.6-max* qwen3.7-max*"
"""...but these of them: https://github.com/agentscope-ai/agentscope-java/issues/1459."""

_NUMBERS = {
    "temperature": ("float", "0 is always the likeliest word, 2 is wild"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "top_k": ("int", "choose from this many of the likeliest words"),
    "max_tokens": ("int", "longest answer, in tokens"),
    "repetition_penalty": ("float", "above 1: against repeated words"),
    "seed": ("int", "same seed, same answer, as far as the provider can"),
    "n": ("int", "answers to one question, 1..4; those after the first are in the result's raw data"),
    "stop": ("text", "text, or a JSON list of texts, at which the answer ends"),
    "enable_search": ("bool", "let the model search the web"),
    "enable_thinking": ("bool", "let the model reason before it answers (many models then must stream)"),
}
_NOT_SENT = ("model", "stream", "stream_options", "extra_headers", "extra_body")
"""Options of OpenAI's that are said in other places, or need not be said at all."""


def info(kind: str, title: str, *more: Param) -> Info:
    """Return the description of a provider on this wire."""
    shared = (
        params.api_key(
            "DASHSCOPE_API_KEY", help="key of Model Studio; it belongs to one region", env_unless="saas.base_url"
        ),
        *params.CONNECTION,
        Param(
            name="saas.base_url",
            help=f"native address of the key's region (default {BASE_URL}, Beijing; https://dashscope-intl.aliyuncs.com"
            "/api/v1 Singapore, https://dashscope-us.aliyuncs.com/api/v1 Virginia, https://cn-hongkong.dashscope"
            ".aliyuncs.com/api/v1, or https://WORKSPACE.REGION.maas.aliyuncs.com/api/v1)",
            env=("DASHSCOPE_HTTP_BASE_URL",),
            default=BASE_URL,
        ),
        Param(name="saas.workspace", help="id of the workspace to call in, such as llm-...; default: the key's own"),
        params.CAPABILITIES,
        *(Param(name=f"saas.{name}", kind=kind_, help=help_) for name, (kind_, help_) in _NUMBERS.items()),
    )
    return Info(kind=kind, title=title, params=(*shared, *more))


class DashScope(Backend):
    """Chat over one HTTP session; an instance serves all slots of a pool."""

    FIRST: ClassVar[str] = ""
    """The path to ask first; by default the model's name tells."""

    def __init__(self, setup: Setup, http: Http) -> None:
        self._http = http
        self._params = setup.params
        self._model: str = setup.params["saas.model"]
        self._base = str(setup.params["saas.base_url"]).rstrip("/")
        self._path = self.FIRST or (MULTIMODAL if _sees(self._model) else TEXT)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the address is one of the native wire."""
        params.check_url(setup.params, "saas.base_url", BASE_URL)
        params.check_objects(setup.params)
        model_facts.capabilities(setup.params["saas.model"], setup.params.get("saas.capabilities"))
        url = setup.params["saas.base_url"]
        path = urlsplit(url).path
        native = f"{url.removesuffix(path)}/api/v1"
        if path.startswith("/compatible-mode"):
            raise BadParameter(
                f"saas.base_url is {url}, which speaks OpenAI's wire.",
                f"Use --pretrained_model_type saas/openai with it, or the native address {native}",
            )
        if "/services/" in path or path.startswith("/apps/"):
            raise BadParameter(f"saas.base_url is {url}, which is not the native address.", f"Write {native}")

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report("importing aiohttp", None)
        endpoint = http_errors.Endpoint(
            setup.params["saas.model"],
            setup.params["saas.base_url"],
            params.secrets_of(setup.params),
            hints={
                401: "Check saas.api_key, and that saas.base_url is the address of the key's region.",
                404: "Check saas.model and saas.base_url (it ends in /api/v1).",
            },
            patterns=schema.PATTERNS,
        )
        headers = params.bearer(setup.params)
        if "saas.workspace" in setup.params:
            headers["X-DashScope-WorkSpace"] = setup.params["saas.workspace"]
        return cls(setup, Http.open(setup, endpoint, headers, schema.from_response))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do, as its name or `saas.capabilities` tells, and this wire has."""
        own = methods_of(self) | {Capability.VISION, Capability.TOOLS}
        return model_facts.capabilities(self._model, self._params.get("saas.capabilities")) & own

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it comes; closing the iterator closes the provider's connection.

        Raises:
            ProviderError: the provider refused or failed; its own sentence is in the message.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        shows = schema.has_media(request.messages)
        path = MULTIMODAL if shows else self._path
        try:
            async with aclosing(self._answer(path, request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except BadRequest as err:
            if shows or "url error" not in err.message:
                raise
        else:
            return
        self._path = TEXT if path == MULTIMODAL else MULTIMODAL
        async with aclosing(self._answer(self._path, request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _answer(self, path: str, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        body = self._body("chat", request.options, messages=schema.messages(request.messages, parts=path == MULTIMODAL))
        body["parameters"] |= {"result_format": "message"}
        headers = dict(request.options.get("extra_headers") or {})
        if request.stream:
            headers |= {"X-DashScope-SSE": "enable", "Accept": "text/event-stream"}
            body["parameters"]["incremental_output"] = True
        finished = False
        async with self._http.request("POST", self._base + path, json=body, headers=headers) as response:
            if response.content_type != "text/event-stream":
                yield self._whole(await response.read())
                return
            async for data in sse.events(response.content.iter_any()):
                if data and (chunk := schema.chunk_of(self._read(data), self._model)):
                    finished = finished or chunk.finish is not None
                    yield chunk
        if not finished:
            raise http_errors.truncated(self._http.endpoint)

    def _whole(self, data: bytes) -> ChatChunk:
        body = self._read(data)
        chunk = schema.chunk_of(body, self._model)
        if chunk is None or not (body.output and body.output.choices):
            raise http_errors.unreadable(self._http.endpoint, "no answer in it")
        return chunk

    def _body(self, capability: str, options: Mapping[str, Any], **asked: Any) -> dict[str, Any]:
        """Return a request: what is asked in `input`, the deployment's and the request's settings in `parameters`."""
        own = {name: value for name, value in options.items() if value is not None and name not in _NOT_SENT}
        if "max_completion_tokens" in own:
            own["max_tokens"] = own.pop("max_completion_tokens")
        settings = {
            **(self._defaults() if capability == "chat" else {}),
            **self._params.get("saas.extra_body", {}),
            **(options.get("extra_body") or {}),
            **own,
        }
        return {"model": options.get("model") or self._model, "input": asked, "parameters": settings}

    def _defaults(self) -> dict[str, Any]:
        given = {name: self._params[f"saas.{name}"] for name in _NUMBERS if f"saas.{name}" in self._params}
        if "stop" in given:
            given["stop"] = text_or_json(given["stop"])
        return given

    async def _post(self, path: str, body: Any) -> schema.Body:
        async with self._http.request("POST", self._base + path, json=body) as response:
            return self._read(await response.read())

    def _read(self, data: bytes) -> schema.Body:
        body = self._http.decode(data, schema.Body)
        if body.code:
            raise self._http.error({"code": body.code, "message": body.message, "request_id": body.request_id})
        return body


def _sees(model: str) -> bool:
    name = model.lower()
    return any(fnmatchcase(name, each) for each in SEES.split()) and not any(
        fnmatchcase(name, each) for each in BLIND.split()
    )

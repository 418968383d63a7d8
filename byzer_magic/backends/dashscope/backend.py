"""Alibaba's DashScope by its own API, which `saas/qianwen` and `saas/qianwen_vl` share.

Requests and responses: https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope; errors:
https://www.alibabacloud.com/help/en/model-studio/error-code. The gateway serves each model at one of two paths, and
returns "url error" at the other: the model's name decides which path is tried first, and that error leads to the other.
Streaming requests get their errors with status 200, as an `event:error`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.dashscope import schema
from byzer_magic.backends.http import answers, errors as http_errors, json_reader, params, reasons, received
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.terms import Agreement, Terms
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.capabilities import Capability, Trait, methods_of
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter, BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, ChatRequest

BASE_URL = "https://dashscope.aliyuncs.com/api/v1"
REGIONS = {
    "beijing": BASE_URL,
    "singapore": "https://dashscope-intl.aliyuncs.com/api/v1",
    "virginia": "https://dashscope-us.aliyuncs.com/api/v1",
    "hongkong": "https://cn-hongkong.dashscope.aliyuncs.com/api/v1",
    "workspace": "https://WORKSPACE.REGION.maas.aliyuncs.com/api/v1",
}
TEXT = "/services/aigc/text-generation/generation"
MULTIMODAL = "/services/aigc/multimodal-generation/generation"

MULTIMODAL_MODELS = "*-vl *-vl-* qvq* *-omni* *-ocr* *-audio* qwen3.5-* qwen3.6-* qwen3.7-* qwen3.8-*"
"""Models that are served at `MULTIMODAL`, even without images..."""
TEXT_MODELS = "qwen3.6-max* qwen3.7-max*"
"""...except these of them: https://github.com/agentscope-ai/agentscope-java/issues/1459."""

_OPTIONS: dict[str, tuple[str, str]] = {
    **{name: params.CHAT_OPTIONS[name] for name in ("temperature", "top_p", "top_k", "max_tokens")},
    "repetition_penalty": ("float", _("above 1: fewer repetitions")),
    "seed": params.CHAT_OPTIONS["seed"],
    "n": ("int", _("number of responses, 1..4; those after the first are in the result's raw data")),
    "stop": params.CHAT_OPTIONS["stop"],
    "enable_search": ("bool", _("let the model search the web")),
    "enable_thinking": ("bool", _("let the model reason before it answers (many models then require streaming)")),
}
_NOT_SENT = ("model", "stream", "stream_options", "extra_headers", "extra_body")
"""Options of OpenAI's that are elsewhere in the request, or not needed."""


def info(kind: str, title: str, *more: Param) -> Info:
    """Return the description of a provider with the DashScope API."""
    shared = (
        params.api_key(
            "DASHSCOPE_API_KEY",
            help=_("API key of Model Studio; valid in one region only"),
            env_unless="saas.base_url",
        ),
        *params.CONNECTION,
        Param(
            name="saas.base_url",
            help=_(
                "base URL of the key's region: Beijing {beijing}, Singapore {singapore}, Virginia {virginia},"
                " Hong Kong {hongkong}; of a workspace: {workspace}",
                **REGIONS,
            ),
            env=("DASHSCOPE_HTTP_BASE_URL",),
            default=BASE_URL,
        ),
        Param(
            name="saas.workspace", help=_("ID of the workspace, such as llm-... (default: the key's own)"), header=True
        ),
        params.CAPABILITIES,
        *params.option_params(_OPTIONS),
    )
    traits = frozenset({Trait.JSON_MODE})  # with tools or images, `n` must be 1
    return Info(kind=kind, title=title, params=(*shared, *more), traits=traits)


class DashScope(Backend):
    """Chat over one HTTP session; an instance serves all slots of a pool."""

    FIRST_PATH: ClassVar[str] = ""
    """The path to try first; by default the model's name decides."""

    def __init__(self, setup: Setup, http: Http) -> None:
        self._http = http
        self._params = setup.params
        self._model: str = setup.params["saas.model"]
        self._base = str(setup.params["saas.base_url"]).rstrip("/")
        self._agreement = Agreement()
        self._path = self.FIRST_PATH or (MULTIMODAL if _is_multimodal(self._model) else TEXT)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the base URL is one of DashScope's own API.

        Raises:
            BadParameter: it is that of the OpenAI-compatible API or of a single endpoint, or is not a URL.
        """
        params.check_url(setup.params, "saas.base_url", BASE_URL)
        params.check_objects(setup.params)
        model_facts.capabilities(setup.params["saas.model"], setup.params.get("saas.capabilities"))
        url = setup.params["saas.base_url"]
        path = urlsplit(url).path
        native = f"{url.removesuffix(path)}/api/v1"
        if path.startswith("/compatible-mode"):
            raise BadParameter(
                _("saas.base_url is {url}, which is the URL of the OpenAI-compatible API.", url=url),
                _("Use --pretrained_model_type saas/openai with it, or the URL {native}", native=native),
            )
        if "/services/" in path or path.startswith("/apps/"):
            raise BadParameter(
                _("saas.base_url is {url}, which is not the base URL of the API.", url=url),
                _("Write {name}={value}", name="saas.base_url", value=native),
            )

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report(_("importing {name}", name="aiohttp"))
        endpoint = http_errors.Endpoint(
            setup.params["saas.model"],
            setup.params["saas.base_url"],
            params.secrets_of(setup.params),
            hints={
                401: _("Check saas.api_key, and that saas.base_url is the URL of the key's region."),
                404: _("Check saas.model and saas.base_url (it ends in /api/v1)."),
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
        """Return the model's capabilities, by its name or `saas.capabilities`, and this API has."""
        own = methods_of(self) | {Capability.VISION, Capability.TOOLS}
        return model_facts.capabilities(self._model, self._params.get("saas.capabilities")) & own

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it arrives; closing the iterator closes the connection.

        Raises:
            ProviderError: the provider refused or failed; the message quotes its own text.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        async with aclosing(
            self._agreement.chunks(request.options, self._defaults(), lambda terms: self._by_path(request, terms))
        ) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _by_path(self, request: ChatRequest, terms: Terms) -> AsyncGenerator[ChatChunk, None]:
        has_media = schema.has_media(request.messages)
        path = MULTIMODAL if has_media else self._path
        try:
            async with aclosing(self._response(path, request, terms)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except BadRequest as err:
            if has_media or "url error" not in err.message:
                raise
        else:
            return
        self._path = TEXT if path == MULTIMODAL else MULTIMODAL
        async with aclosing(self._response(self._path, request, terms)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _response(self, path: str, request: ChatRequest, terms: Terms) -> AsyncGenerator[ChatChunk, None]:
        body = self._body("chat", request.options, messages=schema.messages(request.messages, parts=path == MULTIMODAL))
        body["parameters"] |= {"result_format": "message"}
        headers = dict(request.options.get("extra_headers") or {})
        if terms.stream:
            headers |= {"X-DashScope-SSE": "enable", "Accept": "text/event-stream"}
            body["parameters"]["incremental_output"] = True
        reader = schema.Reader(self._model, self._http.error)
        events = self._http.events(self._base + path, body, headers=headers)
        async with aclosing(answers.chunks(events, reader, self._http.endpoint)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _body(self, capability: str, options: Mapping[str, Any], **data: Any) -> dict[str, Any]:
        """Return a request: `data` as its `input`, options of the deployment and the request as its `parameters`."""
        own = {name: value for name, value in options.items() if value is not None and name not in _NOT_SENT}
        if "max_completion_tokens" in own:
            own["max_tokens"] = own.pop("max_completion_tokens")
        settings = {
            **(self._defaults() if capability == "chat" else {}),
            **self._params.get("saas.extra_body", {}),
            **(options.get("extra_body") or {}),
            **own,
        }
        return {"model": options.get("model") or self._model, "input": data, "parameters": settings}

    def _defaults(self) -> dict[str, Any]:
        given = params.given(self._params, _OPTIONS)
        if "stop" in given:
            given["stop"] = text_or_json(given["stop"])
        return given

    async def _post(self, path: str, body: Any) -> schema.Body:
        async with self._http.request("POST", self._base + path, json=body) as response:
            data = await received.read(response)
        found: schema.Body = await json_reader.aside(self._http.decode, data, schema.Body)
        if reasons.is_failed_code(found.code):
            raise self._http.error(json_reader.plain(data))
        if found.output is None:
            raise http_errors.no_answer(json_reader.plain(data), self._http.endpoint)
        return found


def _is_multimodal(model: str) -> bool:
    name = model.lower()
    return any(fnmatchcase(name, each) for each in MULTIMODAL_MODELS.split()) and not any(
        fnmatchcase(name, each) for each in TEXT_MODELS.split()
    )

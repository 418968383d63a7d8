"""Bedrock's Converse as plain data: requests to its schema, `ChatChunk` from its responses and events, and its errors.

Fields: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and ..._ConverseStream.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic import errors
from byzer_magic.backends.http import json_reader, tool_calls
from byzer_magic.backends.http.answers import AnswerReader
from byzer_magic.backends.http.coercion import count_in, text_in
from byzer_magic.backends.http.errors import Endpoint, unreachable, unreadable, untrusted
from byzer_magic.backends.http.finishes import finish_of
from byzer_magic.backends.http.messages import is_blank, media_of, sendable, text_of, tool_call
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.media.formats import extension
from byzer_magic.types import STOPPED_AT, ChatChunk, ChatRequest, Media, Message, Usage

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_INFERENCE = {
    "max_tokens": "maxTokens",
    "max_completion_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
}
NO_OUTPUT = "(no output)"
"""Sent as the result of a tool that returned nothing: Converse refuses blank texts."""
_SAME = ("guardrailConfig", "performanceConfig", "requestMetadata", "serviceTier")
"""Fields that have the same name in Converse."""
_PLAIN = (("n", 1), ("response_format", "text"), ("response_format", {"type": "text"}))
"""Options that request what Converse does anyway."""


_NO_CREDENTIALS = (
    errors.AuthenticationFailed,
    _("boto3 found no credentials: {reason}"),
    _("Set saas.aws_access_key and saas.aws_secret_key, or saas.aws_profile."),
)
_UNREACHABLE = (
    errors.ProviderUnavailable,
    _("Cannot connect to Bedrock: {reason}"),
    _("Check saas.region_name, saas.endpoint_url, the network and the proxy."),
)
_RAISED: dict[str, tuple[type[errors.ProviderError], Text, str]] = {
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "CredentialRetrievalError": _NO_CREDENTIALS,
    "TokenRetrievalError": _NO_CREDENTIALS,
    "NoAuthTokenError": _NO_CREDENTIALS,
    "SSOError": _NO_CREDENTIALS,
    "EndpointConnectionError": _UNREACHABLE,
    "ConnectTimeoutError": _UNREACHABLE,
    "ParamValidationError": (
        BadRequest,
        _("boto3 rejected the request: {reason}"),
        _("Fix the request as the error message describes."),
    ),
    "InvalidEndpointConfigurationError": (
        BadRequest,
        _("boto3 rejected the URL: {reason}"),
        _("Check saas.endpoint_url."),
    ),
}
"""What botocore raises without a response: https://docs.aws.amazon.com/boto3/latest/guide/error-handling.html."""
PATTERNS: tuple[tuple[type[errors.ProviderError], str], ...] = (
    (errors.ContextTooLong, r"input is too long|exceed context limit|too many input tokens|input tokens exceed"),
)
"""How Bedrock and its models put it: https://github.com/aws-samples/bedrock-chat/issues/95 and
https://github.com/RooCodeInc/Roo-Code/issues/3713."""


def arguments(request: ChatRequest, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `converse`, without `modelId`.

    Args:
        request: the request.
        defaults: options of the deployment, which those of the request override.

    Raises:
        BadRequest: the request has options or media that Converse does not have.

    Example:
        >>> arguments(ChatRequest(messages=[Message("user", "Hi")]), {"max_tokens": 10})
        {'messages': [{'role': 'user', 'content': [{'text': 'Hi'}]}], 'inferenceConfig': {'maxTokens': 10}}
    """
    options = {**defaults, **{name: value for name, value in request.options.items() if value is not None}}
    extra = options.pop("extra_body", {})
    instructions = [text_of(turn) for turn in request.messages if turn.role in ("system", "developer")]
    system = [{"text": text} for text in instructions if text.strip()]
    turns = [_turn(turn) for turn in sendable(request.messages) if turn.role not in ("system", "developer")]
    found: dict[str, Any] = {"messages": _alternating(turns)}
    inference = {_INFERENCE[name]: options.pop(name) for name in list(options) if name in _INFERENCE}
    if "stop" in options:
        stop = options.pop("stop")
        inference["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    choice = options.pop("tool_choice", None)
    if (tools := options.pop("tools", None)) and choice != "none":
        found["toolConfig"] = {"tools": [_tool(tool) for tool in tools], **_choice(choice)}
    found |= {name: options.pop(name) for name in _SAME if name in options}
    if unknown := [name for name, value in options.items() if (name, value) not in _PLAIN]:
        hint = _("Remove it, or put the model's own fields into extra_body.")
        raise BadRequest(_("Bedrock's Converse has no option {name}.", name=unknown[0]), hint)
    parts = {"system": system, "inferenceConfig": inference, "additionalModelRequestFields": extra}
    return found | {name: value for name, value in parts.items() if value}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    spec = {"name": function["name"], "inputSchema": {"json": function.get("parameters") or {"type": "object"}}}
    return {"toolSpec": spec | ({"description": function["description"]} if function.get("description") else {})}


def _choice(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {"toolChoice": {"tool": {"name": value["function"]["name"]}}}
    return {"toolChoice": {"any": {}} if value == "required" else {"auto": {}}}


def _turn(turn: Message) -> dict[str, Any]:
    if turn.role == "tool":
        text = text_of(turn)
        result = {"toolUseId": turn.tool_call_id, "content": [{"text": text if text.strip() else NO_OUTPUT}]}
        return {"role": "user", "content": [{"toolResult": result}]}
    content = turn.content if isinstance(turn.content, list) else []
    blocks = [_block(part) for part in content if not is_blank(part)]
    if isinstance(turn.content, str) and turn.content:
        blocks = [{"text": turn.content}]
    for call in turn.tool_calls or []:
        given = {"name": tool_calls.name_of(call), "input": tool_calls.arguments_of(call)}
        blocks.append({"toolUse": {"toolUseId": call["id"], **given}})
    return {"role": turn.role, "content": blocks}


def _alternating(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns with neighbours of the same role in one: Converse requires alternating roles."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        if found and found[-1]["role"] == turn["role"]:
            found[-1] = {**turn, "content": [*found[-1]["content"], *turn["content"]]}
        else:
            found.append(turn)
    return found


def _block(part: Any) -> dict[str, Any]:
    media = media_of(part)
    if media is not None:
        return _image(media)
    return {"text": part["text"]} if part.get("type") == "text" else dict(part)


def _image(media: Media) -> dict[str, Any]:
    if not media.is_image:
        raise BadRequest(
            _("Bedrock's Converse does not accept audio."), _("Transcribe it first, with a speech-to-text model.")
        )
    if not media.data:
        raise _no_urls(media.url)
    kind = extension(media.mime)
    return {"image": {"format": "jpeg" if kind == "jpg" else kind, "source": {"bytes": media.data}}}


class Reader(AnswerReader):
    """Reads the events of one stream, or a complete response."""

    def __init__(self) -> None:
        super().__init__()
        self._tools: dict[Any, int] = {}

    def read(self, event: Mapping[str, Any]) -> ChatChunk | None:
        """Return what an event adds to the response, or None."""
        event, replaced = json_reader.carried(event)  # botocore reads JSON as it is
        self.repaired = self.repaired or replaced
        if "output" in event:
            if not isinstance(_object(_object(event["output"]).get("message")).get("content"), list):
                self.note(event)
                return None
            found = complete(event)
            self.finished = bool(found.text or found.reasoning or found.tool_calls)
            return found
        kind, data = next(((kind, _object(data)) for kind, data in event.items()), ("", {}))
        self.begun = self.begun or kind in ("messageStart", "contentBlockStart", "contentBlockDelta")
        if kind == "contentBlockStart" and (use := _object(data.get("start")).get("toolUse")):
            self._tools[data.get("contentBlockIndex")] = index = len(self._tools)
            return ChatChunk(tool_calls=[_call(index, _object(use))])
        if kind == "contentBlockDelta":
            return self._delta(data.get("contentBlockIndex"), _object(data.get("delta")))
        if kind == "messageStop":
            self.finished = True
            return ChatChunk(finish=finish_of(data.get("stopReason"), FINISHES), extra=_stopped(data))
        if kind == "metadata" and data.get("usage"):
            return ChatChunk(usage=_usage(_object(data["usage"])))
        return None

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> ChatChunk | None:
        if "text" in delta:
            return ChatChunk(text_in(delta["text"]))
        if "reasoningContent" in delta:
            thought = text_in(_object(delta["reasoningContent"]).get("text"))  # or a signature, or redacted content
            return ChatChunk(reasoning=thought) if thought else None
        if "toolUse" in delta and index in self._tools:
            given = _object(delta["toolUse"]).get("input") or ""
            return ChatChunk(tool_calls=[{"index": self._tools[index], "function": {"arguments": given}}])
        return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _stopped(end: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return that an answer has ended at a stop sequence; Converse does not tell which."""
    return {STOPPED_AT: ""} if end.get("stopReason") == "stop_sequence" else None


def _call(index: int, use: Mapping[str, Any], arguments: Any = None) -> dict[str, Any]:
    return tool_call(index, text_in(use.get("name")), text_in(use.get("toolUseId")), arguments)


def complete(response: Mapping[str, Any]) -> ChatChunk:
    """Return a complete response as one chunk."""
    content = _object(_object(response.get("output")).get("message")).get("content")
    blocks = [_object(block) for block in content] if isinstance(content, list) else []
    uses = [_object(block["toolUse"]) for block in blocks if "toolUse" in block]
    calls = [_call(index, use, use.get("input") or {}) for index, use in enumerate(uses)]
    thoughts = [_object(_object(block.get("reasoningContent")).get("reasoningText")) for block in blocks]
    return ChatChunk(
        "".join(text_in(block.get("text")) for block in blocks),
        "".join(text_in(thought.get("text")) for thought in thoughts),
        finish_of(response.get("stopReason"), FINISHES),
        _usage(_object(response.get("usage"))),
        calls or None,
        _stopped(response),
    )


def _usage(counts: Mapping[str, Any]) -> Usage:
    names = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    given, cached, stored = (count_in(counts.get(name)) for name in names)
    return Usage(given + cached + stored, count_in(counts.get("outputTokens")), cached_tokens=cached)


def request_id(response: Mapping[str, Any]) -> str | None:
    """Return the ID of the request that a response belongs to."""
    found: str | None = response.get("ResponseMetadata", {}).get("RequestId")
    return found


def check_images(body: Mapping[str, Any]) -> None:
    """Check that images have their bytes, as InvokeModel requires.

    See https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html

    Raises:
        BadRequest: an image is a URL.
    """
    turns = (turn["content"] for turn in body["messages"] if isinstance(turn["content"], list))
    sources = (block.get("source") or {} for blocks in turns for block in blocks)
    if found := [source for source in sources if source.get("type") == "url"]:
        raise _no_urls(found[0]["url"])


def _no_urls(url: str) -> BadRequest:
    return BadRequest(
        _("Bedrock does not accept image URLs: {url}", url=url),
        _("Download the image, and pass the file or its bytes."),
    )


def from_botocore(err: Exception, endpoint: Endpoint) -> errors.ByzerError | None:
    """Return our error for an exception that botocore raises without a response; None for any other."""
    for name in (cls.__name__ for cls in type(err).__mro__):
        if name == "SSLError":
            return untrusted(endpoint, err)
        if name in ("ChecksumMismatch", "InvalidHeadersLength", "InvalidPayloadLength"):  # JSON or a page, as frames
            return unreadable(endpoint, _("it is not an event stream"))
        if name == "ProxyConnectionError":
            return unreachable(endpoint, endpoint.redacted(str(getattr(err, "kwargs", {}).get("error") or err)))
        if name in _RAISED:
            kind, message, hint = _RAISED[name]
            reason = endpoint.redacted(str(err))
            return kind(_(message.template, reason=reason), hint, provider=endpoint.host)
    return None

"""Bedrock's Converse as plain data: a request from ours, and `ChatChunk` from its answers and events.

Shapes: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and ..._ConverseStream.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.backends.wires.media import extension
from byzer_magic.errors import BadRequest
from byzer_magic.media import image
from byzer_magic.types import ChatChunk, ChatRequest, Media, Message, Usage

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
_SAME = ("guardrailConfig", "performanceConfig", "requestMetadata", "serviceTier")
"""Fields that Converse knows by these names."""


def arguments(request: ChatRequest, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `converse`, without `modelId`; `defaults` are options that the request may override.

    Raises:
        BadRequest: it asks for something that Converse does not have.
    """
    asked = {**defaults, **{name: value for name, value in request.options.items() if value is not None}}
    extra = asked.pop("extra_body", {})
    system = [{"text": _plain(turn)} for turn in request.messages if turn.role in ("system", "developer")]
    turns = [_turn(turn) for turn in request.messages if turn.role not in ("system", "developer")]
    found: dict[str, Any] = {"messages": _alternating(turns)}
    inference = {_INFERENCE[name]: asked.pop(name) for name in list(asked) if name in _INFERENCE}
    if "stop" in asked:
        stop = asked.pop("stop")
        inference["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    choice = asked.pop("tool_choice", None)
    if (tools := asked.pop("tools", None)) and choice != "none":
        found["toolConfig"] = {"tools": [_tool(tool) for tool in tools], **_choice(choice)}
    found |= {name: asked.pop(name) for name in _SAME if name in asked}
    if unknown := [
        name for name, value in asked.items() if (name, value) not in (("n", 1), ("response_format", "text"))
    ]:
        hint = "Leave it out, or put the model's own fields into extra_body."
        raise BadRequest(f"Bedrock's Converse has no {unknown[0]}.", hint)
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
        result = {"toolUseId": turn.tool_call_id, "content": [{"text": _plain(turn)}]}
        return {"role": "user", "content": [{"toolResult": result}]}
    blocks = [_block(part) for part in turn.content] if isinstance(turn.content, list) else []
    if isinstance(turn.content, str) and turn.content:
        blocks = [{"text": turn.content}]
    for call in turn.tool_calls or []:
        function = call["function"]
        given = json.loads(function.get("arguments") or "{}")
        blocks.append({"toolUse": {"toolUseId": call["id"], "name": function["name"], "input": given}})
    return {"role": turn.role, "content": blocks}


def _alternating(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns with neighbours of the same role in one: Converse wants them to alternate."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        if found and found[-1]["role"] == turn["role"]:
            found[-1] = {**turn, "content": [*found[-1]["content"], *turn["content"]]}
        else:
            found.append(turn)
    return found


def _block(part: dict[str, Any] | Media) -> dict[str, Any]:
    if isinstance(part, Media):
        return _image(part)
    if part.get("type") == "image_url":
        address = part["image_url"]
        return _image(image(address["url"] if isinstance(address, Mapping) else address))
    return {"text": part["text"]} if part.get("type") == "text" else part


def _image(media: Media) -> dict[str, Any]:
    if not media.is_image:
        raise BadRequest(
            "Bedrock's Converse takes no sounds.", "Write them down first, with a model that can transcribe."
        )
    if not media.data:
        raise BadRequest(
            f"Bedrock takes no addresses: {media.url}", "Download the picture, and give the file or its bytes."
        )
    kind = extension(media.mime)
    return {"image": {"format": "jpeg" if kind == "jpg" else kind, "source": {"bytes": media.data}}}


def _plain(turn: Message) -> str:
    if not isinstance(turn.content, list):
        return turn.content or ""
    return "\n".join(str(part.get("text", "")) for part in turn.content if isinstance(part, dict))


class Reader:
    """Reads the events of one stream."""

    def __init__(self) -> None:
        self.finished = False
        """Whether Bedrock has said that the answer is complete."""
        self._tools: dict[int, int] = {}

    def chunk(self, event: Mapping[str, Any]) -> ChatChunk | None:
        """Return what an event adds to the answer, or None."""
        (kind, said), *_ = event.items()
        if kind == "contentBlockStart" and "toolUse" in said.get("start", {}):
            use = said["start"]["toolUse"]
            self._tools[said["contentBlockIndex"]] = index = len(self._tools)
            function = {"name": use["name"], "arguments": ""}
            return ChatChunk(
                tool_calls=[{"index": index, "id": use["toolUseId"], "type": "function", "function": function}]
            )
        if kind == "contentBlockDelta":
            return self._delta(said["contentBlockIndex"], said["delta"])
        if kind == "messageStop":
            self.finished = True
            return ChatChunk(finish=FINISHES.get(said["stopReason"], said["stopReason"]))
        if kind == "metadata" and said.get("usage"):
            return ChatChunk(usage=_usage(said["usage"]))
        return None

    def _delta(self, index: int, delta: Mapping[str, Any]) -> ChatChunk | None:
        if "text" in delta:
            return ChatChunk(delta["text"])
        if "reasoningContent" in delta:
            return ChatChunk(reasoning=delta["reasoningContent"].get("text", ""))
        if "toolUse" in delta:
            return ChatChunk(
                tool_calls=[{"index": self._tools[index], "function": {"arguments": delta["toolUse"]["input"]}}]
            )
        return None


def whole(answer: Mapping[str, Any]) -> ChatChunk:
    """Return a complete answer."""
    blocks = answer["output"]["message"]["content"]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    calls = [
        {
            "index": index,
            "id": use["toolUseId"],
            "type": "function",
            "function": {"name": use["name"], "arguments": json.dumps(use["input"], ensure_ascii=False)},
        }
        for index, use in enumerate(uses)
    ]
    thoughts = [block["reasoningContent"].get("reasoningText", {}) for block in blocks if "reasoningContent" in block]
    reason = answer["stopReason"]
    return ChatChunk(
        "".join(block.get("text", "") for block in blocks),
        "".join(thought.get("text", "") for thought in thoughts),
        FINISHES.get(reason, reason),
        _usage(answer["usage"]),
        calls or None,
    )


def _usage(counts: Mapping[str, Any]) -> Usage:
    names = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    return Usage(sum(counts.get(name) or 0 for name in names), counts.get("outputTokens") or 0)

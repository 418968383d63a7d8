"""From prompts to messages, and from the pieces of an answer to the whole."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic import errors, media as load
from byzer_magic.i18n import gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.results.metadata import Timings
from byzer_magic.types import ChatChunk, Dispatched, Media, Message, Usage


class ChatCollector:
    """Collects the items of one chat into a ChatResult; can be read at any time, also after an error."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._started = time.perf_counter()
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, dict[str, Any]] = {}
        self._first: float | None = None
        self._worker: int | None = None
        self._queued = 0.0
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._extra: dict[str, Any] = {}

    def add(self, item: ChatChunk | Dispatched) -> None:
        """Take the next item."""
        if isinstance(item, Dispatched):
            self._worker, self._queued = item.worker, item.queued
            return
        if item.text or item.reasoning:
            if self._first is None:
                self._first = time.perf_counter() - self._started
            self._text.append(item.text)
            self._reasoning.append(item.reasoning)
        self._finish = item.finish or self._finish
        self._usage = item.usage or self._usage
        for delta in item.tool_calls or []:
            _merge_tool_call(self._tools, delta)
        if item.extra:
            _merge_extra(self._extra, item.extra)

    def progress(self) -> str:
        """Return how far it is, in a few words."""
        return _("{count} characters", count=len(self.text)) if self._first else _("waiting")

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return time.perf_counter() - self._started

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """Return the reasoning so far."""
        return "".join(self._reasoning)

    def result(self, *, interrupted: bool = False) -> ChatResult:
        """Return what has arrived."""
        return ChatResult(
            text=self.text,
            model=self.model,
            worker=self._worker,
            reasoning=self.reasoning,
            finish=self._finish,
            usage=self._usage,
            timings=Timings(self._first, time.perf_counter() - self._started, self._queued),
            tool_calls=[copy.deepcopy(self._tools[index]) for index in sorted(self._tools)] or None,
            interrupted=interrupted,
            raw=copy.deepcopy(self._extra),  # more may come
        )


def _merge_extra(so_far: dict[str, Any], extra: dict[str, Any]) -> None:
    """Add what else a chunk says: log probabilities and the other choices come in pieces, all else is a fact."""
    for name, value in extra.items():
        if name == "logprobs" and isinstance(value, dict) and isinstance(so_far.get(name, {}), dict):
            known = so_far.setdefault(name, {})
            for part, tokens in value.items():
                known.setdefault(part, []).extend(tokens or [])
        elif name == "choices":
            for choice in value:
                _merge_choice(so_far.setdefault(name, []), choice)
        elif value is not None:
            so_far[name] = value


def _merge_choice(choices: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    known = next((choice for choice in choices if choice["index"] == delta["index"]), None)
    if known is None:
        choices.append(dict(delta))
        return
    known["text"] += delta["text"]
    known["finish"] = delta["finish"] or known["finish"]


def _merge_tool_call(calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
    """Add a tool call's delta to the calls so far: arguments come in pieces, by index (OpenAI's streaming form)."""
    index = delta.get("index")
    empty = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(len(calls) if index is None else index, empty)
    call["id"] = delta.get("id") or call["id"]
    function = delta.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def to_messages(
    prompt: str | Sequence[Mapping[str, Any] | Message], system: str | None = None, media: Sequence[Media] = ()
) -> list[Message]:
    """Return a prompt, or messages in OpenAI form, as messages; `media` become parts of the last one.

    Raises:
        CommandError: a message has no role.
    """
    if isinstance(prompt, str):
        turns = [Message("user", prompt)]
    else:
        turns = [item if isinstance(item, Message) else _message(item) for item in prompt]
    if media and turns:
        turns[-1] = _with_media(turns[-1], media)
    return [Message("system", system), *turns] if system else turns


def _with_media(turn: Message, media: Sequence[Media]) -> Message:
    text = [{"type": "text", "text": turn.content}] if isinstance(turn.content, str) and turn.content else []
    parts = turn.content if isinstance(turn.content, list) else text
    return msgspec.structs.replace(turn, content=[*parts, *media])


def _message(item: Mapping[str, Any]) -> Message:
    if "role" not in item:
        raise errors.CommandError(
            f"A message has no role: {str(item)[:80]}.", 'Use {"role": "user", "content": "..."}.'
        )
    known = {name: item[name] for name in Message.__struct_fields__ if item.get(name) is not None}
    if isinstance(known.get("content"), list):
        known["content"] = [_part(part) for part in known["content"]]
    return Message(**known)


def _part(part: Any) -> Any:
    """Return a part of a message; pictures and sounds in base64 as their bytes, and bare objects as what they are."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        return part if isinstance(part, Media) else load.image(part)
    picture, sound = part.get("image_url"), part.get("input_audio")
    if isinstance(sound, Mapping) and "data" in sound:
        return load.audio(f"data:audio/{sound.get('format', 'wav')};base64,{sound['data']}")
    url = picture.get("url") if isinstance(picture, Mapping) else picture
    if not (isinstance(url, str) and url.startswith("data:")):
        return dict(part)
    detail = picture.get("detail", "") if isinstance(picture, Mapping) else ""
    return msgspec.structs.replace(load.image(url), detail=detail)

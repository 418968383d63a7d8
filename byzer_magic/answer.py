"""From prompts to messages, and from the pieces of an answer to the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from byzer_magic import errors
from byzer_magic.results import ChatResult, Timings
from byzer_magic.types import ChatChunk, Dispatched, Message, Usage


class Answer:
    """Collects the items of one chat into a ChatResult; can be read at any time, also after an error."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._started = time.perf_counter()
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: list[dict[str, Any]] = []
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
        self._extra |= item.extra or {}

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
            tool_calls=self._tools or None,
            interrupted=interrupted,
            raw=self._extra,
        )


def collect(
    model: str, items: Iterator[ChatChunk | Dispatched], show: Callable[[Answer, ChatChunk | Dispatched], None]
) -> ChatResult:
    """Drain a chat, calling `show` after each item; an interrupt ends it early and marks the result.

    Raises:
        RequestError: the chat failed; its `partial` is what had arrived.
    """
    answer = Answer(model)
    with closing(items) as open_items:  # type: ignore[type-var]  # LOOP.iterate's generators
        try:
            for item in open_items:
                answer.add(item)
                show(answer, item)
        except KeyboardInterrupt:
            return answer.result(interrupted=True)
        except errors.RequestError as err:
            err.partial = answer.result(interrupted=True)
            raise
    return answer.result()


def _merge_tool_call(calls: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    """Add a tool call's delta to the calls so far: arguments come in pieces, by index (OpenAI's streaming form)."""
    index = delta.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    call["id"] = delta.get("id") or call["id"]
    function = delta.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def to_messages(prompt: str | Sequence[Mapping[str, Any] | Message], system: str | None = None) -> list[Message]:
    """Return a prompt, or messages in OpenAI form, as messages.

    Raises:
        CommandError: a message has no role.
    """
    if isinstance(prompt, str):
        turns = [Message("user", prompt)]
    else:
        turns = [item if isinstance(item, Message) else _message(item) for item in prompt]
    return [Message("system", system), *turns] if system else turns


def _message(item: Mapping[str, Any]) -> Message:
    if "role" not in item:
        raise errors.CommandError(
            f"A message has no role: {str(item)[:80]}.", 'Use {"role": "user", "content": "..."}.'
        )
    known = {name: item[name] for name in Message.__struct_fields__ if item.get(name) is not None}
    return Message(**known)

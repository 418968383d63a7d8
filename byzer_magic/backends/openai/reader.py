"""The events and bodies of OpenAI's chat completions, from the many servers that have their own idea of them.

`schema` reads what is as documented. What it refuses is read again here as plain data: a field that nobody needs
refuses nothing, and text is read from whatever has it.
"""

from __future__ import annotations

import json
from typing import Any

from byzer_magic.backends.http import reasons
from byzer_magic.backends.http.answers import AnswerReader
from byzer_magic.backends.http.coercion import text_in
from byzer_magic.backends.http.errors import ErrorResponse, Unreadable
from byzer_magic.backends.http.json_reader import REFUSED, JsonReader, loads
from byzer_magic.backends.http.sse import DONE
from byzer_magic.backends.openai import schema
from byzer_magic.types import ChatChunk


class Reader(AnswerReader):
    """Reads the events of one response.

    Example:
        >>> reader = Reader()
        >>> reader.chunk(b'{"id": 17, "choices": [{"index": null, "delta": {"content": 42}}]}').text
        '42'
        >>> reader.chunk(b"[DONE]"), reader.finished
        (None, True)
    """

    def __init__(self) -> None:
        super().__init__()
        self._json = JsonReader(schema.Body)
        self._events = 0
        self._first: int | None = None
        """The index of the first choice: some servers begin to count at 1."""
        self._deltas = False
        """Whether text has come in deltas: a complete message after them only repeats them."""

    def read(self, event: bytes) -> ChatChunk | None:
        """Return what an event adds to the response, or None.

        Raises:
            ErrorResponse: the event is an error.
            Unreadable: it is not JSON.
        """
        if event == DONE:
            self.finished = self.over = True
            return None
        if not event:
            return None
        self._events += 1
        try:
            body = schema.fast(event)
        except REFUSED:
            return self._read_odd(self._loaded(event))
        return self._read_body(body, event)

    def end(self, endpoint: Any) -> ChatChunk | None:
        """Return what is to be added at the end; a complete body is complete without a finish reason, too."""
        if self._events == 1 and self.has_content and not self._deltas:
            self.finished = True
        return super().end(endpoint)

    def _loaded(self, event: bytes) -> Any:
        try:
            values = self._json.several(event)
        except ValueError as err:
            raise Unreadable(str(err)) from None
        self.repaired = self._json.repaired
        return values if len(values) > 1 else values[0]

    def _read_odd(self, value: Any) -> ChatChunk | None:
        """Return what plain data adds to the response: objects that are not as documented, lists, and others."""
        if value == DONE.decode():
            return self.read(DONE)
        if isinstance(value, str) and value.lstrip()[:1] == "{":  # JSON in a JSON string
            value = self._loaded(value.encode())
        if isinstance(value, list):
            found = [chunk for item in value if isinstance(item, dict) and (chunk := self._read_odd(item))]
            return _joined(found) if found else None
        if not isinstance(value, dict):
            return None
        return self._read_body(self._json.convert(_plain(value)), value)

    def _read_body(self, body: schema.Body, event: bytes | dict[str, Any]) -> ChatChunk | None:
        """Return what a body adds to the response.

        Args:
            body: the body.
            event: what it was read from, for the fields that only errors have.
        """
        if not body.choices or body.error is not None:
            self._check(event, has_choices=bool(body.choices))
        if body.choices:
            if len(body.choices) > 1:
                body.choices = schema.arranged(body.choices)
            choice = body.choices[0]
            if self._first is None:
                self._first = choice.index
            if choice.index and choice.index == self._first:
                choice.index = 0
            if choice.error is not None or choice.message is not None:
                self._check_choice(choice, event)
            elif choice.delta is not None and choice.delta.content:
                self._deltas = True
            self.begun = True
        try:
            return schema.chunk_of(body)
        except ErrorResponse as err:  # the finish reason is a failure
            raise ErrorResponse(_failure(_data(event)) or err.error) from None

    def _check(self, event: bytes | dict[str, Any], *, has_choices: bool) -> None:
        """Keep an event without choices; raise it if it is an error."""
        data = _data(event)
        if reasons.failed(data.get("error")) or (not has_choices and reasons.is_failure(data)):
            raise ErrorResponse(data)
        if not has_choices:
            self.note(data)

    def _check_choice(self, choice: schema.Choice, event: bytes | dict[str, Any]) -> None:
        """Raise the error of a choice; leave out the text of a message that only repeats the deltas before it."""
        if reasons.failed(choice.error):
            raise ErrorResponse(_failure(_data(event)))
        if choice.delta is not None and choice.delta.content:
            self._deltas = True
        elif self._deltas and choice.message is not None:
            choice.message.content = choice.message.reasoning_content = choice.message.reasoning = None


def _joined(chunks: list[ChatChunk]) -> ChatChunk:
    """Return the chunks of one event as one."""
    first = chunks[0]
    for chunk in chunks[1:]:
        first = ChatChunk(
            first.text + chunk.text,
            first.reasoning + chunk.reasoning,
            chunk.finish or first.finish,
            chunk.usage or first.usage,
            [*(first.tool_calls or []), *(chunk.tool_calls or [])] or None,
            {**(first.extra or {}), **(chunk.extra or {})} or None,
        )
    return first


def _data(event: bytes | dict[str, Any]) -> dict[str, Any]:
    data = loads(event) if isinstance(event, bytes) else event
    return data if isinstance(data, dict) else {}


def _failure(data: dict[str, Any]) -> Any:
    """Return what says why a choice has failed: an error in it, in its message, beside it, or its text."""
    choices = data.get("choices")
    choice = next((item for item in choices if isinstance(item, dict)), {}) if isinstance(choices, list) else {}
    parts = [part for part in (choice.get("delta"), choice.get("message")) if isinstance(part, dict)]
    places = [choice.get("error"), *(part.get("error") for part in parts), data.get("error")]
    for place in places:
        if reasons.failed(place):
            return {"error": place}
    beside = {name: value for name, value in data.items() if name not in ("choices", "usage", "object", "id", "model")}
    own = {name: value for name, value in choice.items() if name not in ("delta", "message", "finish_reason", "index")}
    for place in (own, beside):
        if reasons.of(place).sentence:
            return place
    return next((text for part in parts if (text := text_in(part.get("content")).strip())), None)


# ---- bodies that are not as documented


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body with the text of its choices where it belongs."""
    choices = body.get("choices")
    choices = list(choices.values()) if isinstance(choices, dict) and "0" in choices else choices
    choices = [choices] if isinstance(choices, dict) else choices
    if not isinstance(choices, list):
        return body
    return {**body, "choices": [_choice(choice) for choice in choices if isinstance(choice, dict)]}


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    reason = choice.get("finish_reason")
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason") or text_in(reason)
    if isinstance(reason, list):
        reason = next(iter(reason), None)
    parts: dict[str, Any] = {name: _part(choice[name]) for name in ("delta", "message") if name in choice}
    return {**choice, **parts, "finish_reason": reason}


def _part(part: Any) -> Any:
    """Return a delta or a message: its content as text, wherever that is."""
    if isinstance(part, str | int | float) and not isinstance(part, bool):
        return {"content": str(part)}
    if isinstance(part, list):
        return {"content": text_in(part)}
    if not isinstance(part, dict):
        return None
    content = part.get("content")
    if isinstance(content, dict | bool) and content not in ({}, False):
        content = text_in(content) or json.dumps(content, ensure_ascii=False)  # a JSON answer that was parsed
    return {**part, "content": content}

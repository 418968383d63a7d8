"""What a provider says about a failure, wherever it says it: code, type and sentence of an error body of any schema.

Providers and gateways have some thirty schemas (the table in the tests names their documentation). They differ in the
names of fields and in how deep these are, so that is what is searched for here, in an order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from byzer_magic.backends.http import body_texts, json_reader, pages
from byzer_magic.backends.http.any_sentence import MAX_CHARS, MAX_FIELDS, any_sentence

MAX_DEPTH = 8
MAX_ITEMS = 3
"""Sentences of a list that are returned."""
_PAGE_CHARS = 16 * 1024
"""Where the title of a page is looked for."""

_INNER = (
    "error",
    "errors",
    "baseresp",
    "fault",
    "header",
    "responsemetadata",
    "response",
    "errorresponse",
    "exception",
)
"""Objects that have the error in them; the names are without case, hyphens and underscores."""
_FAILURES = ("fault", "faultstring", "exception", "errorresponse", "errormsg", "errormessage", "errmsg")
"""Fields that only errors fill, whatever else a body has."""
_HEADS = ("baseresp", "header", "response", "responsemetadata")
"""Objects that have a code with every response."""
_OUTER = ("status", "result", "data", "body", "output", "outputs", "messages")
"""Objects that may have the error in them, when nothing else has it."""
_SENTENCES = (
    "message", "msg", "errormsg", "errormessage", "errmsg", "errordescription", "detail", "details", "statusmsg",
    "statusmessage", "description", "faultstring", "error", "errors", "err", "reason", "errortext", "cause", "title",
)  # fmt: skip
_TELLING = ("error", "errors", "message", "msg", "errormsg", "errormessage", "errmsg", "detail", "faultstring")
"""What errors have, and schemas and messages of a request have not."""
_CODES = ("code", "errorcode", "errcode", "errno", "statuscode", "httpcode")
_KINDS = ("type", "errortype", "status", "object")
_SUCCESS = ("", "0", "200", "ok", "success", "succeeded", "successful", "normal", "none", "null")
"""Codes and words that say that nothing failed."""


class Reason(NamedTuple):
    """Code, type and sentence of a failure; each may be empty."""

    code: str = ""
    kind: str = ""
    sentence: str = ""


def of(body: Any) -> Reason:
    """Return code, type and sentence of an error body.

    Args:
        body: JSON as plain data, or a text or bytes: JSON, a page, an event stream, or a sentence.

    Example:
        >>> of({"error": {"code": "invalid_api_key", "type": "auth", "message": "Wrong key."}})
        Reason(code='invalid_api_key', kind='auth', sentence='Wrong key.')
        >>> of(b'{"detail": [{"type": "missing", "loc": ["body", "user"], "msg": "Field required"}]}').sentence
        'body.user: Field required'
        >>> of("<html><title>502 Bad Gateway</title></html>").sentence
        '502 Bad Gateway'
    """
    found = _find(body_texts.text_of(body) if isinstance(body, bytes) else body, _Left(MAX_DEPTH, {}))
    return found._replace(sentence=bounded(" ".join(found.sentence[: 4 * MAX_CHARS].split())))


def bounded(text: str, limit: int = MAX_CHARS) -> str:
    """Return the beginning of a text, at most `limit` characters, that does not end within a word if that can be.

    Example:
        >>> bounded("three little words", limit=15)
        'three little'
    """
    if len(text) <= limit:
        return text
    words = text[:limit].rpartition(" ")[0]  # a key that is cut in half would no longer be known as one
    return words if len(words) > limit // 2 else text[:limit]


def is_failure(body: Any) -> bool:
    """Return whether JSON without an answer says itself that it is an error.

    Example:
        >>> is_failure({"code": 1302, "msg": "too many requests"}), is_failure({"object": "error", "message": "no"})
        (True, True)
        >>> is_failure({"code": 0, "msg": "success", "data": []}), is_failure({"type": "ping"})
        (False, False)
    """
    if isinstance(body, list):
        return any(isinstance(item, Mapping) and is_failure(item) for item in body[:MAX_FIELDS])
    if not isinstance(body, Mapping):
        return False
    fields = _fields(body)
    if failed(fields.get("error")) or failed(fields.get("errors")) or fields.get("success") is False:
        return True
    if any(_says_failed(fields.get(name)) for name in (*_KINDS, "event")):
        return True
    if any(failed(fields.get(name)) for name in _FAILURES) or any(_has_failed(fields.get(name)) for name in _HEADS):
        return True
    return bool(_status(fields)) or (_failed_code(fields) and bool(of(body).sentence))


def _has_failed(head: Any) -> bool:
    """Return whether the object in which a body says how it went says that it failed."""
    return isinstance(head, Mapping) and (_failed_code(head) or failed(_fields(head).get("error")))


def is_failed_code(code: Any) -> bool:
    """Return whether an error code says that something failed: many providers send one with answers, too.

    Example:
        >>> is_failed_code("InvalidApiKey"), is_failed_code("Success"), is_failed_code(0), is_failed_code(None)
        (True, False, False, False)
    """
    return _word(code).lower() not in _SUCCESS


def _says_failed(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in ("error", "failed", "failure")


def _failed_code(fields: Mapping[str, Any]) -> bool:
    known = _fields(fields)
    return any(is_failed_code(known.get(name)) for name in _CODES)


def failed(error: Any) -> bool:
    """Return whether an `error` field has an error: with answers it may be null, false, "" or an empty object."""
    waiting = [error]
    while waiting:  # by a loop: it may be nested as deep as JSON can be read
        value = waiting.pop()
        if isinstance(value, Mapping | list):
            waiting += list(value.values() if isinstance(value, Mapping) else value)[:MAX_FIELDS]
        elif not (value is None or value is False or str(value).strip().lower() in _SUCCESS):
            return True
    return False


# ---- JSON


class _Left(NamedTuple):
    """How much deeper a search may go, and what it has found."""

    depth: int
    known: dict[tuple[int, int], tuple[Any, Reason]]
    """What values say, by their ids and depths, and the values, without which others would get their ids."""

    def inner(self) -> _Left:
        return self._replace(depth=self.depth - 1)


def _find(value: Any, left: _Left) -> Reason:
    """Return what a value says; a field may be looked at for several reasons, and all that is in it each time."""
    key = id(value), left.depth
    if key not in left.known:
        left.known[key] = value, _found(value, left)
    return left.known[key][1]


def _found(value: Any, left: _Left) -> Reason:
    if isinstance(value, str):
        return _in_text(value, left)
    if left.depth <= 0:
        return Reason()
    if isinstance(value, list):
        return _in_list(value, left.inner())
    if isinstance(value, Mapping):
        return _in_object(value, left.inner())
    return Reason()


def _in_list(items: list[Any], left: _Left) -> Reason:
    found = [reason for item in items[:MAX_FIELDS] if (reason := _find(item, left)).sentence][:MAX_ITEMS]
    sentences = list(dict.fromkeys(reason.sentence for reason in found))
    first = found[0] if found else _find(items[0], left) if items else Reason()
    return first._replace(sentence="; ".join(sentences))


def _in_object(body: Mapping[Any, Any], left: _Left) -> Reason:
    fields = _fields(body)
    own = Reason(_code(fields), _kind(fields))
    for found in _candidates(fields, left):
        reason = Reason(found.code or own.code, found.kind or own.kind, _placed(found.sentence, fields))
        return _with_upstream(reason, fields, left)
    return Reason(*_coded(body))


def _candidates(fields: Mapping[str, Any], left: _Left) -> Iterator[Reason]:
    """Yield what the fields say, the most telling first: an inner error, a sentence, a word, an outer object."""
    yield from _said(fields, _INNER, left, lambda value: not isinstance(value, str) or value.lstrip()[:1] in ("{", "["))
    others = tuple(name for name in fields if name.endswith(("msg", "message", "info")) and name not in _SENTENCES)
    words = [reason for reason in _said(fields, _SENTENCES + others, left) if reason.sentence.lower() not in _SUCCESS]
    yield from sorted(words, key=lambda reason: not _is_sentence(reason.sentence))
    yield from _said(fields, _OUTER, left, lambda value: isinstance(value, Mapping | list))
    if any(_says_failed(fields.get(name)) for name in _OUTER):
        yield from _said(fields, ("data", "result", "body", "text"), left, lambda value: isinstance(value, str))
    if isinstance(errors := fields.get("errors"), Mapping):  # by field, as Laravel has them
        yield from (
            reason._replace(sentence=f"{name}: {reason.sentence}")
            for name, value in list(errors.items())[:MAX_FIELDS]
            if (reason := _find(value, left)).sentence
        )
    told = next((value for name in _SENTENCES[:4] if isinstance(value := fields.get(name), Mapping | list)), None)
    if sentence := any_sentence(told):  # by language, or in parts
        yield Reason(sentence=sentence)


def _coded(body: Any) -> tuple[str, str]:
    """Return code and type of an error without a sentence, from the objects in it, too."""
    code = kind = ""
    for _ in range(MAX_DEPTH):
        if not isinstance(body, Mapping):
            break
        fields = _fields(body)
        code = _code(fields) or code
        kind = _kind(fields) or kind
        body = next((fields[name] for name in _INNER if isinstance(fields.get(name), Mapping)), None)
        code = code or _word(fields.get("error")) or _word(fields.get("message"))
    return code, kind


def status_in(body: Any) -> int | None:
    """Return the HTTP status that an error's body repeats, in it or in the error in it; None when it has none.

    Example:
        >>> status_in({"error": {"status": 429, "code": "slow"}}), status_in({"code": "slow"})
        (429, None)
    """
    for _ in range(MAX_DEPTH):
        if not isinstance(body, Mapping):
            break
        fields = _fields(body)
        words = (_word(fields.get(name)) for name in (*_CODES, "status", "httpstatus"))
        if status := next((word for word in words if len(word) == 3 and "400" <= word < "600"), ""):
            return int(status) if status.isdecimal() else None
        body = next((fields[name] for name in _INNER if isinstance(fields.get(name), Mapping)), None)
    return None


def _said(
    fields: Mapping[str, Any], names: tuple[str, ...], left: _Left, wanted: Callable[[Any], bool] = lambda _: True
) -> Iterator[Reason]:
    for name in names:
        value = fields.get(name)
        if value and wanted(value) and (reason := _find(value, left)).sentence:
            yield reason


def _is_sentence(text: str) -> bool:
    return " " in text or not text.isascii()


def _placed(sentence: str, fields: Mapping[str, Any]) -> str:
    """Return a sentence with the place of the error in the request, which FastAPI states beside it."""
    place = fields.get("loc")
    if not isinstance(place, list) or "msg" not in fields:
        return sentence
    return f"{'.'.join(str(part) for part in place[:MAX_DEPTH] if isinstance(part, str | int))}: {sentence}"


def _with_upstream(reason: Reason, fields: Mapping[str, Any], left: _Left) -> Reason:
    """Return a router's sentence with that of the provider behind it (OpenRouter: `metadata.raw`)."""
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    upstream = _find(raw, left).sentence if raw else ""
    if not upstream or upstream in reason.sentence:
        return reason
    return reason._replace(sentence=f"{reason.sentence.rstrip('. ')}: {upstream}")


def _fields(body: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the fields by name, without case, hyphens and underscores."""
    names = list(body)[:MAX_FIELDS]
    return {str(name)[:MAX_FIELDS].lower().replace("_", "").replace("-", ""): body[name] for name in reversed(names)}


def _word(value: Any) -> str:
    """Return a code or a type: one word, or nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    word = str(value)[:MAX_FIELDS].strip()
    return "" if " " in word or word.lower() in ("none", "null", "error") else word


def _code(fields: Mapping[str, Any]) -> str:
    code = next((code for name in _CODES if (code := _word(fields.get(name)))), "")
    said = _word(fields.get("error"))  # OAuth: the code is there, the sentence in error_description
    return code or (said if any(fields.get(name) for name in ("errordescription", "message")) else _status(fields))


def _status(fields: Mapping[str, Any]) -> str:
    """Return the HTTP status of an error that a body repeats; empty when it has none."""
    status = _word(fields.get("status"))
    return status if len(status) == 3 and status.isdigit() and status >= "400" else ""


def _kind(fields: Mapping[str, Any]) -> str:
    kind = _word(fields.get("type")) or next((kind for name in _KINDS[1:3] if (kind := _word(fields.get(name)))), "")
    return "" if kind.isdigit() else kind.rpartition("#")[2]  # AWS: com.amazon.coral#ValidationException


# ---- texts


def _in_text(text: str, left: _Left) -> Reason:
    start = json_reader.repaired(text[:_PAGE_CHARS]).lstrip("\ufeff \t\r\n")
    if start[:1] == "<" and pages.is_page(start):
        code, sentence = pages.said(start)
        return Reason(code, "", sentence)
    if start[:1] in ("{", "[", '"'):
        return _in_json(text, left.inner())
    if start.startswith(("data:", "event:", ":")):
        return _in_events(text, left.inner())
    return _in_sentence(start, left)


def _in_json(text: str, left: _Left) -> Reason:
    """Return what JSON says, or the text if it only begins like JSON: `"messages" is a required field`."""
    if len(text) <= body_texts.MAX_BYTES and left.depth >= 0:
        with contextlib.suppress(ValueError):
            value, rest = json_reader.first(text)
            if isinstance(value, str) and not rest:
                return _find(value, left) if value[:1] in ("{", "[") else Reason(sentence=value)
            found = Reason() if isinstance(value, str) else _find(value, left)
            return found if found.sentence or not rest else _in_sentence(text, left)
    if found_string := body_texts.string_after_name(text[:_PAGE_CHARS]):
        return Reason(sentence=found_string)
    is_json = text.lstrip()[:_PAGE_CHARS].startswith(("{", '["', "[{", "[["))
    return Reason() if is_json else Reason(sentence=_shortened(text))


def _shortened(text: str) -> str:
    return json_reader.repaired(text[:MAX_CHARS])


def _in_events(text: str, left: _Left) -> Reason:
    """Return what the data of an event stream says."""
    lines = (line.strip() for line in text[: body_texts.MAX_BYTES].splitlines())
    data = [line[5:].strip() for line in lines if line.startswith("data:")]
    return _find("\n".join(data), left) if data and left.depth > 0 else Reason(sentence=_shortened(text))


def _in_sentence(text: str, left: _Left) -> Reason:
    """Return a sentence; an error inside, as JSON or as Python prints it, becomes the sentence that it has."""
    text = text[: body_texts.REPR_CHARS * 2]
    if text.strip().lower() in ("null", "none", "true", "false", "undefined"):
        return Reason()
    start = next((at for at in (text.find("{"), text.find("[{")) if at >= 0), -1)
    end = max(text.rfind("}"), text.rfind("]")) + 1
    if left.depth <= 0 or start < 0 or end <= start:
        return Reason(sentence=text)
    value = body_texts.parsed(text[start:end])
    inner = _find(value, left.inner()) if _is_error(value) else Reason()
    if not inner.sentence:
        return Reason(sentence=text)
    return inner._replace(sentence=f"{text[:start].rstrip()} {inner.sentence}{text[end:]}".strip())


def _is_error(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Return whether data that a sentence quotes is an error, not a schema or a message of the request."""
    if isinstance(value, list):
        return depth > 0 and any(_is_error(item, depth - 1) for item in value[:MAX_ITEMS])
    return isinstance(value, Mapping) and any(name in _TELLING for name in _fields(value))

"""Whatever a provider sends is read, or becomes an error, within a budget of CPU time: event streams and error bodies.

Texts are made of what readers look for, nested and over and over, so that time which grows faster than a text is found
by a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import example, given, settings, strategies as st

from byzer_magic import errors
from byzer_magic.backends.http import errors as http_errors, reasons
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import ErrorResponse, NoAnswer, Unreadable
from byzer_magic.backends.http.sse import events
from byzer_magic.safety.redaction import hide
from tests.budgets import examples, within

SECONDS = 5.0
"""CPU time for each input, of 100 kB at most; they take a tenth of a second, and quadratic ones minutes."""
LONGEST = 100_000
KEY = "Zx9+Qw/8rT=yUi0PaSdFg"
ENDPOINT = Endpoint("m", "https://api.example.com/v1", (KEY,))
budget = settings(max_examples=examples(30), deadline=None)


def repeated(pieces: list[str]) -> st.SearchStrategy[str]:
    """Texts of these pieces and any others, and a few of them over and over."""
    piece = st.sampled_from(pieces) | st.text(max_size=4)
    many = st.tuples(st.lists(piece, min_size=1, max_size=3).map("".join), st.integers(1, LONGEST))
    long = many.map(lambda drawn: (drawn[0] * drawn[1])[:LONGEST])
    return st.tuples(st.lists(piece, max_size=8).map("".join), long | st.just(""), piece).map("".join)


# ---- event streams

LINES = repeated(
    [
        *("data: ", "data:", "event: error", "event: ping", "id: 1", "retry: 5", ": a", "\n", "\r\n", "\r", "\n\n"),
        *('{"a": 1}', '{"a":', '"error"', "{", "}", "[", "]", "[DONE]", "\ufeff", "\u2028", "a", " ", "<html>", "<p>"),
        *(
            'data: {"a": 1}\n\n',
            'data: {"a": 1}\n',
            "data: {\n",
            '{"a": 1}\n',
            "a\n",
            ": a\n",
            "data:\n",
            "event: ping\n",
        ),
    ]
).map(lambda text: text.encode("utf-8", "surrogatepass"))

EVERYWHERE = st.integers(50, 3000).map(lambda step: list(range(0, LONGEST, step)))
CUTS = st.lists(st.integers(0, LONGEST), max_size=6) | EVERYWHERE


async def read(body: bytes, cuts: list[int]) -> list[bytes] | type[ErrorResponse]:
    async def blocks() -> AsyncIterator[bytes]:
        places = sorted(cut % (len(body) + 1) for cut in cuts)
        for start, end in zip([0, *places], [*places, len(body)], strict=True):
            yield body[start:end]

    try:
        return [data async for data in events(blocks())]
    except (NoAnswer, Unreadable) as err:
        return type(err)


@budget
@given(LINES, CUTS)
@example(b"data: " + b"a" * LONGEST, [*range(0, LONGEST, 50)])
@example(b"\r" * LONGEST, [*range(0, LONGEST, 50)])
@example(b'{"a":\n' * 15_000, [])
def test_any_bytes_are_the_same_events_wherever_they_are_cut(body: bytes, cuts: list[int]) -> None:
    with within(SECONDS):
        whole = asyncio.run(read(body, []))
        assert asyncio.run(read(body, cuts)) == whole


# ---- error bodies

NAMES = st.sampled_from(
    [
        "error",
        "errors",
        "message",
        "msg",
        "detail",
        "details",
        "code",
        "type",
        "status",
        "data",
        "metadata",
        "raw",
        "loc",
    ]
)
WORDS = repeated(
    [
        *(
            "a word ",
            "word",
            "iVBORw0KGgo",
            "sk-",
            KEY,
            KEY[:9],
            "Bearer ",
            "Basic ",
            "https://",
            "a:b@",
            "?key=",
            "***",
        ),
        *(
            '"token": "',
            "'secret': '",
            "{'error': ",
            '{"error": ',
            "[",
            "[{",
            "}",
            "]",
            "<",
            "&#",
            "9",
            "&lt;",
            "\x1b[",
        ),
        *("not ", "stream ", "support ", "use the ", "unknown ", "maximum context length ", "data: ", "\ufffd", "\\"),
        *("<title>", "</title>", "<script>", "<!DOCTYPE html>", "<Error><Code>", "<Message>", "<h1 "),
    ]
)
LEAVES = st.none() | st.booleans() | st.integers(0, 600) | st.sampled_from(["", "ok", "failed", "E1"]) | WORDS
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=4)
        | inner.map(lambda value: json.dumps(value)[:LONGEST])
    ),
    max_leaves=8,
)
JSON = DATA.map(lambda value: json.dumps(value).encode())
PLAIN = WORDS.map(lambda text: text.encode("utf-8", "replace"))
PAGES = st.tuples(st.sampled_from([b"<html>", b"<?xml?>", b"<Error>"]), PLAIN).map(b"".join)
CUT_OFF = st.tuples(JSON, st.integers(1, 400)).map(lambda drawn: drawn[0][: -drawn[1]])
BODIES = JSON | PLAIN | PAGES | CUT_OFF | st.binary(max_size=200)


def nested(names: list[str], depth: int) -> Any:
    value: Any = 1
    for _level in range(depth):
        value = dict.fromkeys(names, value)
    return value


def all_errors(body: bytes, status: int) -> list[errors.ByzerError]:
    """Return what becomes of a body in all places where one is read."""
    given = [body, body.decode("utf-8", "replace")]
    with contextlib.suppress(ValueError, RecursionError):
        given.append(json.loads(body))
    found = [http_errors.from_response(each, ENDPOINT, status) for each in given]
    found += [http_errors.no_answer(each, ENDPOINT) for each in given]
    reasons.is_failure(given[-1])
    return [*found, http_errors.not_json(body, ENDPOINT, "it is no JSON")]


@budget
@given(BODIES, st.sampled_from([400, 401, 404, 422, 429, 500]))
@example(b"<title>&#" + b"9" * 5000 + b";</title>", 502)
@example(json.dumps(nested(["error", "message", "data"], 8)).encode(), 400)
@example(json.dumps(nested(["status", "result", "data", "body"], 7)).encode(), 400)
@example(b'{"error": ' + b"[" * 450 + b"]" * 450 + b"}", 400)
@example(b'{"detail": [{"msg": "no", "input": "data:image/png;base64,' + b"iVBORw0KGgo" * 9_000 + b'"}]}', 422)
def test_any_error_body_becomes_a_short_error_without_the_key(body: bytes, status: int) -> None:
    with within(SECONDS):
        for error in all_errors(body, status):
            shown = f"{error} {error.details}"
            assert len(shown) < 10_000
            assert KEY not in shown


@budget
@given(WORDS)
def test_any_text_is_redacted(text: str) -> None:
    with within(SECONDS):
        shown = hide(text, (KEY,))
        assert KEY not in shown
        assert hide(f"{text} {KEY} {text}", (KEY,)).count(KEY) == 0

"""Server-sent events from bytes."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, strategies as st

from byzer_magic.backends.http import sse
from byzer_magic.backends.http.errors import NoAnswer, Unreadable
from byzer_magic.backends.http.sse import Parser, events
from tests.budgets import within


def parsed(*blocks: bytes) -> list[bytes]:
    parser = Parser()
    found = [data for block in blocks for data in parser.feed(block)]
    return [*found, *parser.end()]


def in_blocks(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


async def test_events_come_from_an_iterator() -> None:
    async def source():  # type: ignore[no-untyped-def]
        for block in in_blocks(b'data: {"a":1}\n\ndata: [DONE]\n\n', 5):
            yield block

    assert [data async for data in events(source())] == [b'{"a":1}', b"[DONE]"]


@pytest.mark.parametrize("size", range(1, 40))
def test_events_do_not_depend_on_block_boundaries(size: int) -> None:
    stream = ': hi\r\nid: 3\r\ndata: {"a":"\u2028é"}\r\n\r\ndata:{"b":1}\n\nretry: 5\ndata: [DONE]\n\n'.encode()
    assert parsed(*in_blocks(stream, size)) == ['{"a":"\u2028é"}'.encode(), b'{"b":1}', b"[DONE]"]


@pytest.mark.parametrize("data", [b"ping", b"{}", b"2026-01-01 12:00"])
def test_pings_are_no_events(data: bytes) -> None:
    ping = b"event: ping\ndata: " + data + b"\n\n"
    assert parsed(ping, b'data: {"a":1}\n\n', ping, b"data: [DONE]\n\n") == [b'{"a":1}', b"[DONE]"]
    assert parsed(ping + b'data: {"a":1}\n\n' + ping) == [b'{"a":1}']


# ---- against the specification


def by_the_book(stream: bytes) -> list[bytes]:
    """Read a stream as https://html.spec.whatwg.org/multipage/server-sent-events.html says, all of it at once."""
    text = stream.decode("utf-8").removeprefix("\ufeff")
    found: list[bytes] = []
    data: list[str] = []
    for line in re.split("\r\n|\n|\r", text):
        if line == "":
            if data:
                found.append("\n".join(data).strip(" \t\n\r\f\v").encode())
            data = []
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
    if data:  # the specification drops what has no empty line after it; providers mean it
        found.append("\n".join(data).strip(" \t\n\r\f\v").encode())
    return found


WORDS = st.text(alphabet='ab {:}é\u2028\ufeff\\"', max_size=8).map(lambda text: f"x{text}")
LINES = st.one_of(
    WORDS.map(lambda text: f"data: {text}"),
    WORDS.map(lambda text: f"data:{text}"),
    st.sampled_from(
        ["data", "data:", "data: ", ": comment", ":", "id: 1", "id", "retry: 5", "event: message", "", "", ""]
    ),
)


@given(
    st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=20),
    st.booleans(),
    st.lists(st.integers(1, 12), min_size=1, max_size=10),
)
@example([("data: a", "\r"), ("", "\r"), ("data: b", "\r\n"), ("", "\n")], True, [1])
@example([("data: a", "\r\n"), ("", "\r\n")], False, [8, 1])
def test_parser_reads_as_the_specification_says(lines: list[tuple[str, str]], mark: bool, sizes: list[int]) -> None:
    stream = (b"\xef\xbb\xbf" if mark else b"") + "".join(line + end for line, end in lines).encode()
    blocks, start, turn = [], 0, 0
    while start < len(stream):
        size = sizes[turn % len(sizes)]
        blocks.append(stream[start : start + size])
        start, turn = start + size, turn + 1
    assert parsed(*blocks) == by_the_book(stream)
    assert parsed(stream) == by_the_book(stream)


# ---- what providers send besides


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n', [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
        (b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}']),
        (b'data: {"a":1}\n\n{"error":{"message":"no"}}\n\n', [b'{"a":1}', b'{"error":{"message":"no"}}']),
        (b'{"a":1}', [b'{"a":1}']),
        (b'{"a":1}\n{"b":2}\n\n{"c":3}\n', [b'{"a":1}', b'{"b":2}', b'{"c":3}']),
        (b'{\n "a": [\n  1\n ],\n\n "b": {\n }\n}\n', [b'{\n "a": [\n  1\n ],\n "b": {\n }\n}']),
        (b'[{"a":1},\n{"b":2}]', [b'[{"a":1},\n{"b":2}]']),
        (b'{"a": [', [b'{"a": [']),
        (b'data: {"a":1}', [b'{"a":1}']),
        (b'event: error\ndata: {"message":"no"}\n\ndata: 1\n\n', [b'{"error":{"message":"no"}}', b"1"]),
        (b'event: error\ndata: {"error":1}\n\n', [b'{"error":1}']),
        (b"event: error\ndata: it gave up\ndata: again\n\n", [b'{"error": "it gave up\\nagain"}']),
        (b"event: error\ndata\n\n", [b'{"error": "error"}']),
        (b"event: message\ndata: 1\n\ndata: 2", [b"1", b"2"]),
    ],
)
def test_parser_reads_what_is_meant(stream: bytes, found: list[bytes], size: int) -> None:
    assert parsed(*in_blocks(stream, size)) == found


@pytest.mark.parametrize("text", [b"upstream error", b"no healthy upstream\n", b"null", b"event: done\nwhat: is this"])
def test_parser_raises_the_text_that_came_instead(text: bytes) -> None:
    with pytest.raises(NoAnswer) as caught:
        parsed(text)
    assert bytes(caught.value.error) in text


def test_parser_raises_the_page_that_came_instead() -> None:
    with pytest.raises(Unreadable):
        parsed(b"\n <!doctype html>\n<title>Welcome</title>\ndata\n")


def test_parser_ignores_a_text_beside_events() -> None:
    assert parsed(b"hello\ndata: 1\n\nbye\n") == [b"1"]


@pytest.mark.parametrize("size", [100, 4096])
def test_long_line_is_joined_once(size: int) -> None:
    line = b"x" * 10_000_000  # joining it with every block takes minutes, more than a test may
    assert parsed(*in_blocks(b"data: " + line + b"\n\n", size)) == [line]


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"{}\n", b"}\n", b"data:\n", b"data: {}\n", b":\n", b"<\n", b"[\n]\n"])
def test_many_lines_are_read_in_linear_time(line: bytes) -> None:
    parser = Parser()
    with within(5):  # it takes a third of a second; with the square of the length, minutes
        for block in in_blocks(line * (300_000 // len(line)), 4096):
            parser.feed(block)


@pytest.mark.parametrize("start", [b"data: ", b"{", b"", b"data: a\n"])
def test_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10_000)
    with pytest.raises(Unreadable):
        parsed(start, *[b"data: " + b"x" * 90] * 200)


def test_long_stream_of_short_events_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    stream = b"".join(b"data: " + json.dumps({"n": n}).encode() + b"\r\n\r\n" for n in range(2000))
    assert len(parsed(*in_blocks(stream, 7))) == 2000

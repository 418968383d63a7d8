"""Whatever comes over a socket is read as frames, or refused by an error of ours, in time that its size explains."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings, strategies as st

from byzer_magic import errors
from byzer_magic.i18n import Text, lazy_gettext as _, pack, unpack
from byzer_magic.runtime.transport import attachments, protocol
from byzer_magic.runtime.transport.protocol import AttachmentChunk, Call, Cancel, Done, Fail, Hold, Item, ProtocolError
from byzer_magic.types import ChatChunk, ChatRequest, Message
from tests.budgets import examples, seconds_of

BUDGET = timedelta(seconds=2)
"""For each input; these take a millisecond. What is quadratic takes minutes."""
budget = settings(max_examples=examples(100), deadline=BUDGET)

NUMBERS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(max_size=8)
KEYS = st.sampled_from(["code", "message", "hint", "details", "self", "data", "count"]) | st.text(max_size=4)
FIELDS = st.sampled_from(
    ["{a}", "{a} {b}", "{a.b}", "{a[0]}", "{}", "{0}", "{a:g}", "{a:99999999}", "{a!r}", "{", "}", "{a:{b}}"]
)
TEMPLATES = st.lists(FIELDS | st.text(max_size=4), max_size=4).map("".join)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.dictionaries(st.sampled_from(["a", "b", "count"]) | st.text(max_size=2), inner, max_size=3)
    texts = st.tuples(TEMPLATES, st.just("") | TEMPLATES, values).map(list)
    return st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4) | texts


DATA = st.recursive(LEAVES, nested, max_leaves=15)
"""What msgpack can have, and what looks like the packed texts of errors."""
NEARLY_ERRORS = DATA | st.fixed_dictionaries(
    {},
    optional={
        "code": DATA | st.sampled_from([*errors.KINDS, "SystemExit", "Exception"]),
        "message": DATA,
        "hint": DATA,
        "details": DATA,
    },
)


@budget
@given(NEARLY_ERRORS)
@example({"code": "RateLimited", "message": "m", "details": {"message": "x", "hint": 1, "self": 2, "code": 3}})
@example({"message": "m"})
@example({"code": ["a"], "message": "m"})
@example({"code": "RateLimited", "message": "m", "details": None})
@example({"message": ["{a}" * 1000, "", {"a": ["{a}" * 1000, "", {"a": "x" * 1000}]}]})
@example({"message": ["{count} a", "{count} b", {"count": "many"}]})
def test_whatever_comes_as_an_error_becomes_one_of_ours(data: Any) -> None:
    error = errors.from_wire(data)
    assert isinstance(error, errors.ByzerError)
    assert isinstance(error.message, str)
    assert isinstance(error.hint, str)
    assert isinstance(error.localized(), str)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.details) == (type(error), str(error), error.details)
    again = errors.from_wire(msgspec.msgpack.decode(protocol.pack_error(error)))
    assert type(again) is type(error)
    assert len(str(error)) < 2 * 4_000_000


@budget
@given(DATA)
def test_unpack_returns_a_text_or_what_it_was_given(data: Any) -> None:
    found = unpack(data)
    assert found is data or isinstance(found, Text)
    if isinstance(found, Text):
        assert isinstance(found.translated("zh"), str)


@budget
@given(st.binary(max_size=200))
@example(b"\x91\x93\x05\x01" + b"\x91" * 100_000 + b"\x01")
@example(b"\x91\x93\x05\x01\xa2\xff\xfe")
@example(b"\xdd\xff\xff\xff\xff")
def test_any_bytes_are_frames_or_a_protocol_error(message: bytes) -> None:
    for read in (protocol.read_calls, protocol.read_answers):
        try:
            frames = read(message)
        except ProtocolError:
            continue
        assert isinstance(frames, list)


FRAMES = st.one_of(
    st.builds(Call, st.integers(0, 2**32), st.sampled_from([*protocol.METHODS, "nothing"]), DATA.map(protocol.pack)),
    st.builds(Cancel, st.integers(0, 2**32)),
    st.builds(Hold, st.integers(0, 2**32), st.booleans()),
    st.builds(AttachmentChunk, st.text(max_size=4), NUMBERS, NUMBERS, st.binary(max_size=9)),
    st.builds(Item, st.integers(0, 2**32), DATA.map(protocol.pack)),
    st.builds(Done, st.integers(0, 2**32)),
    st.builds(Fail, st.integers(0, 2**32), DATA),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return frames that somebody has changed on the way."""
    message = bytearray(protocol.write(draw(st.lists(FRAMES, max_size=4))))
    for _change in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(message)))
        message[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(message)


@budget
@given(damaged())
def test_damaged_frames_are_read_or_refused_down_to_their_bodies(message: bytes) -> None:
    cache = attachments.AttachmentCache()
    try:
        for call in protocol.read_calls(message):
            if isinstance(call, AttachmentChunk):
                cache.arrive(call)
            elif isinstance(call, Call):
                attachments.attach(protocol.body_of(call), cache.take(call.media))
    except ProtocolError:
        pass
    try:
        for answer in protocol.read_answers(message):
            if isinstance(answer, Item):
                protocol.item_of("watch", answer)
            elif isinstance(answer, Fail):
                assert isinstance(errors.from_wire(answer.error), errors.ByzerError)
    except ProtocolError:
        pass


@budget
@given(st.sampled_from(sorted(protocol.METHODS)), DATA.map(protocol.pack))
def test_any_body_is_of_its_method_or_a_protocol_error(method: str, body: msgspec.Raw) -> None:
    for read in (lambda: protocol.body_of(Call(1, method, body)), lambda: protocol.item_of(method, Item(1, body))):
        try:
            read()
        except ProtocolError as err:
            assert len(str(err)) < 1000


@budget
@given(st.dictionaries(st.text(max_size=4), DATA | st.builds(object), max_size=3), st.text(max_size=9))
@example({"message": 1, "hint": 2, "self": 3}, "x" * 3_000_000)
@example({"a": b"x" * 3_000_000}, "m")
@example({}, "\ud800")
def test_every_error_can_be_sent(details: dict[str, Any], message: str) -> None:
    sent = protocol.pack_error(errors.RateLimited(message, **details))
    assert len(sent) <= protocol.MAX_ERROR_BYTES
    received = errors.from_wire(msgspec.msgpack.decode(sent))
    assert type(received) is errors.RateLimited
    assert received.message[:1000] == message.encode(errors="replace").decode()[:1000]


def test_text_keeps_what_our_templates_have() -> None:
    text = _("{size:,} of {alias!r} in {seconds:.1f} s: {inner}", size=1000, alias="m", seconds=1.25, inner=_("Retry."))
    assert unpack(pack(text)) == text == "1,000 of 'm' in 1.2 s: Retry."


# ---- growth

KINDS: dict[str, Callable[[int], object]] = {
    "many frames": lambda size: protocol.read_answers(protocol.write([Done(1)] * (size // 3))),
    "many calls": lambda size: protocol.read_calls(protocol.write([Cancel(1)] * (size // 3))),
    "a long body": lambda size: protocol.item_of("chat", Item(1, protocol.pack(ChatChunk("x" * size)))),
    "many messages": lambda size: protocol.body_of(
        Call(1, "chat", protocol.pack(ChatRequest(messages=[Message("user", "x")] * (size // 20))))
    ),
    "a template of fields": lambda size: unpack(["{a}" * (size // 3), "", {"a": "x"}]),
    "a template of braces": lambda size: unpack(["{" * size, "", {"a": "x"}]),
    "many values": lambda size: unpack(["{a}", "", {str(number): "x" for number in range(size // 8)}]),
    "many texts": lambda size: errors.from_wire(
        {"message": "m", "details": {str(number): ["{a}", "", {"a": 1}] for number in range(size // 20)}}
    ),
    "deep texts": lambda size: errors.from_wire({"message": deep(min(size // 10, 900))}),
    "many tiny attachments": lambda size: arrived(size // 20),
    "many tiny attachments in use": lambda size: arrived(size // 20, used=True),
}


def deep(levels: int) -> Any:
    data: Any = "x"
    for _level in range(levels):
        data = ["{a}", "", {"a": data}]
    return data


def arrived(count: int, *, used: bool = False) -> None:
    cache = attachments.AttachmentCache()
    for number in range(count):
        cache.arrive(AttachmentChunk(str(number), 0, 1, b"x"))
        if used:
            cache.take([str(number)])


@pytest.mark.parametrize("kind", KINDS)
def test_time_grows_no_faster_than_the_message(kind: str) -> None:
    """A hundred times the bytes may take three hundred times as long: ten thousand times is quadratic."""
    small, large = (functools.partial(KINDS[kind], size) for size in (10_000, 1_000_000))
    limit = 300 * max(seconds_of(small, tries=3), 0.0005)
    assert seconds_of(large) < limit or seconds_of(large, tries=3) < limit

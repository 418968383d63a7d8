"""JSON of providers, read tolerantly."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends.http.json_reader import JsonReader, loads, repaired


class Outer(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1} trailing', {"a": 1}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": NaN, "b": Infinity, "c": 1e999}', {"a": None, "b": None, "c": None}),
        (b'{"a": "x\ny\t\x01"}', {"a": "x\ny\t\x01"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\\ud83d", "\\ude00": 1}', {"a": "\ufffd", "\ufffd": 1}),
        (b'{"a": "\xed\xa0\xbd\xed\xb8\x80"}', {"a": "\U0001f600"}),
        (b'{"a": "\xe4\xbd"}', {"a": "\ufffd"}),
        (f'{{"a": {10**30}, "b": {10**400}}}'.encode(), {"a": 1e30, "b": None}),
    ],
)
def test_loads_returns_what_can_be_sent_on(data: bytes, value: Any) -> None:
    assert loads(data) == value
    msgspec.msgpack.encode(loads(data))


@pytest.mark.parametrize("data", [b"", b"{", b"nonsense", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe"])
def test_loads_refuses_what_is_no_json(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(data)


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (b'{"name": "\xe4\xbd\xa0 \xef\xbf\xbd"}', False),
        (b'{"name": "\\ud83d\\ude00"}', False),
        (b'{"name": 3}', False),
        (b'{"name": "\xe4\xbd"}', True),
        (b'{"name": "\\ud83d"}', True),
    ],
)
def test_reader_notes_repairs_only(data: bytes, changed: bool) -> None:
    reader = JsonReader(Outer)
    reader.decode(data)
    assert reader.repaired is changed


@given(st.text(alphabet=st.characters() | st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)))
def test_repaired_text_can_be_encoded(text: str) -> None:
    repaired(text).encode()
    assert loads(json.dumps(text)) == repaired(text)

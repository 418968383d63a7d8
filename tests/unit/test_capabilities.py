"""The table of capabilities is complete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import pytest

from byzer_magic import results, types
from byzer_magic.capabilities import TABLE, Capability, method_for, purpose, resolve, row_of_result
from byzer_magic.client.collect import Collector
from byzer_magic.client.messages import to_messages
from byzer_magic.client.requests import request_for
from byzer_magic.rendering.results import bundle
from byzer_magic.types import Media

PROMPTS = {Capability.RERANK: '{"query": "q", "documents": ["a", "b"]}'}
AUDIO = Media("audio/wav", b"RIFF")


def request_of(capability: Capability) -> types.Request:
    """Return a request for a capability, made as from a prompt."""
    attached = [AUDIO] if capability == Capability.TRANSCRIBE else []
    return request_for(capability, to_messages(PROMPTS.get(capability, "hello"), None, attached), {})


@pytest.mark.parametrize("capability", TABLE, ids=str)
class TestTable:
    def test_row_builds_its_request_from_a_prompt(self, capability: Capability) -> None:
        request = request_of(capability)
        assert type(request) is TABLE[capability].request
        assert method_for(request) == capability

    def test_row_has_a_collector_that_returns_its_result(self, capability: Capability) -> None:
        collector = resolve(TABLE[capability].collector)
        assert issubclass(collector, Collector)
        found = collector("m", request_of(capability))
        assert found.progress.done == 0
        assert type(found.result()) is resolve(TABLE[capability].result)

    def test_row_has_a_renderer_for_its_result(self, capability: Capability) -> None:
        result = resolve(TABLE[capability].collector)("m", request_of(capability)).result()
        assert row_of_result(type(result)) is TABLE[capability]
        assert "text/plain" in bundle(result)

    def test_row_has_a_probe_that_yields_its_requests(self, capability: Capability) -> None:
        probes = resolve(TABLE[capability].probe)()
        assert isinstance(probes, Iterable)
        assert all(type(probe) is TABLE[capability].request for probe in probes)

    def test_row_accepts_and_returns_known_kinds(self, capability: Capability) -> None:
        assert TABLE[capability].accepts <= {"image", "audio"}
        assert TABLE[capability].returns in ("text", "data", "file")


def test_table_has_every_request_chunk_and_result() -> None:
    assert {row.request for row in TABLE.values()} == set(get_args(types.Request))
    assert {row.chunk for row in TABLE.values()} == set(get_args(types.Item))
    assert {resolve(row.result) for row in TABLE.values()} == set(get_args(results.Result))


def test_purpose_is_chat_where_a_model_chats_and_where_nothing_is_known() -> None:
    assert purpose(frozenset(Capability)) == purpose(frozenset()) == Capability.CHAT
    assert purpose(frozenset({Capability.EMBED, Capability.RERANK})) == Capability.EMBED

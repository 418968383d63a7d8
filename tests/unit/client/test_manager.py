"""A manager per face on one connection; nothing here starts a Ray."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import byzer_magic as bz
from byzer_magic import request_ids
from byzer_magic.client.connection import Connection
from byzer_magic.client.manager import Manager
from byzer_magic.config import Settings
from byzer_magic.errors import RateLimited, Unsupported
from byzer_magic.types import ChatRequest


class Face:
    """Keeps what it is to show."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def watch(self, _work: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def test_manager_reporting_to_another_face_shares_the_connection_and_nothing_else() -> None:
    first = Manager(Settings(), Face())
    face = Face()
    second = first.reporting_to(face, Settings(lang="zh"))
    assert second.connection is first.connection
    assert (second.reporter, second.settings.lang) == (face, "zh")
    assert (first.reporter is face, first.settings.lang) == (False, "")


def test_manager_says_nothing_by_default() -> None:
    manager = Manager(Settings())
    manager.reporter.say("dropped")
    with manager.reporter.watch(None):
        pass
    assert not manager.connected


def test_default_manager_is_one_per_process() -> None:
    assert bz.default_manager() is bz.default_manager()


class Link:
    """A deployment's socket, on which every request fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.ids: list[str] = []

    async def stream(self, _method: str, _request: Any, request_id: str) -> AsyncIterator[Any]:
        self.ids.append(request_id)
        raise self._error
        yield


class Linked(Connection):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.found = Link(error)

    async def link(self, _alias: str) -> Any:
        return self.found


async def test_ask_leaves_the_refusal_of_an_engine_as_it_is() -> None:
    refusal = Unsupported("transformers does not support response_format.", "Use vllm.")
    manager = Manager(Settings(), connection=Linked(refusal))
    with pytest.raises(Unsupported) as caught:
        await anext(manager.ask("m", ChatRequest(messages=[])))
    assert caught.value is refusal


async def test_requests_have_the_id_of_their_caller_or_one_of_their_own_and_errors_show_it() -> None:
    connection = Linked(RateLimited("too fast"))
    manager = Manager(Settings(), connection=connection)
    shown = []
    for current in ("", "", "job-7", "job-7"):
        request_ids.CURRENT.set(current)
        with pytest.raises(RateLimited) as caught:
            await anext(manager.ask("m", ChatRequest(messages=[])))
        shown.append(caught.value.details["id"])
        assert request_ids.CURRENT.get() == current
    assert shown == connection.found.ids
    assert shown[2:] == ["job-7"] * 2
    assert len({*shown}) == 3

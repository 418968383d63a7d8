"""The conversations that a pool keeps: versions, so that no turn is lost, and bounds."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.runtime.kept.sessions import Bounds, Sessions
from byzer_magic.runtime.transport.messages import PutSession
from byzer_magic.types import Media, Message


def turn(text: str) -> list[Message]:
    return [Message("user", text), Message("assistant", f"Echo: {text}")]


def texts(sessions: Sessions, name: str) -> list[object]:
    return [message.content for message in sessions.get(name).messages]


def put(
    sessions: Sessions, name: str, version: str | None, keep: int, messages: list[Message], now: float = 0.0
) -> str:
    found = sessions.put(PutSession(name, version, keep, messages), now)
    assert found.taken
    return found.version


def test_turns_are_added_to_the_version_that_was_seen() -> None:
    sessions = Sessions()
    first = put(sessions, "t", "", 0, turn("a"))
    second = put(sessions, "t", first, 2, turn("b"))
    assert first != second
    assert sessions.get("t", second).messages == [], "the client has them"
    assert texts(sessions, "t") == ["a", "Echo: a", "b", "Echo: b"]


def test_a_face_that_was_slower_gets_the_present_version_and_changes_nothing() -> None:
    sessions = Sessions()
    first = put(sessions, "t", "", 0, turn("a"))
    second = put(sessions, "t", first, 2, turn("b"))
    for version in (first, "", "of another pool"):
        refused = sessions.put(PutSession("t", version, 2, turn("c")), 0.0)
        assert not refused.taken
        assert (refused.version, refused.messages) == (second, [*turn("a"), *turn("b")])


def test_versions_of_another_pool_are_other_ones() -> None:
    assert put(Sessions(), "t", "", 0, turn("a")) != put(Sessions(), "t", "", 0, turn("a"))


def test_a_session_that_was_removed_is_not_listed_and_has_a_version() -> None:
    sessions = Sessions()
    put(sessions, "t", "", 0, turn("a"))
    gone = put(sessions, "t", None, 0, [])
    assert sessions.infos(0.0) == []
    assert sessions.get("t").version == gone
    assert sessions.get("never").version == ""


def test_a_turn_is_appended_whatever_the_version() -> None:
    sessions = Sessions()
    sessions.append("t", [Message("system", "brief"), *turn("a")], turn("a"), 0.0)
    sessions.append("t", [*turn("other"), *turn("b")], turn("b"), 0.0)
    assert texts(sessions, "t") == ["brief", "a", "Echo: a", "b", "Echo: b"]


def test_least_recently_used_sessions_are_dropped() -> None:
    sessions = Sessions(Bounds(sessions=2))
    put(sessions, "a", "", 0, turn("a"))
    put(sessions, "b", "", 0, turn("b"))
    sessions.get("a")
    put(sessions, "c", "", 0, turn("c"))
    assert [info.name for info in sessions.infos(0.0)] == ["a", "c"]
    wide = Sessions(Bounds(total_bytes=2500))
    for name in "abc":
        put(wide, name, "", 0, turn("x" * 500))
    assert [info.name for info in wide.infos(0.0)] == ["b", "c"]


def test_a_session_that_is_too_large_is_refused_and_stays_as_it_was() -> None:
    sessions = Sessions(Bounds(session_bytes=2000))
    version = put(sessions, "t", "", 0, turn("a"))
    image = Message("user", [Media("image/png", bytes(2000))])
    with pytest.raises(errors.RequestError, match="The session t has"):
        sessions.put(PutSession("t", version, 2, [image]), 0.0)
    assert texts(sessions, "t") == ["a", "Echo: a"]


def test_infos_have_turns_last_words_and_age() -> None:
    sessions = Sessions()
    put(sessions, "t", "", 0, [*turn("a"), *turn("b\n" + "c" * 500)], now=10.0)
    [info] = sessions.infos(25.0)
    assert (info.name, info.turns, info.age) == ("t", 2, 15.0)
    assert info.last.startswith("Echo: b c")
    assert len(info.last) == 60

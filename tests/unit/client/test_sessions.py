"""Sessions of several faces on the same deployments: nothing is lost, and nothing is there twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.client.sessions import Sessions, together
from byzer_magic.results import ChatResult
from byzer_magic.runtime.kept import sessions as kept_sessions
from byzer_magic.types import Message
from tests.pools import Near, Pools

LETTERS = st.lists(st.sampled_from("abcdef"), max_size=6).map(lambda names: [Message("user", name) for name in names])


class Face:
    """A notebook or shell."""

    def __init__(self, pools: Pools) -> None:
        self.manager = Near(pools)
        self.sessions = Sessions()

    async def ask(self, prompt: str, alias: str = "m", name: str = "t", *, meanwhile: Any = None) -> str:
        """Ask in a session, and return what is said about it; `meanwhile` is awaited while the model answers."""
        await self.sessions.pull(self.manager, alias, name)
        messages = [*self.sessions.get(name, []), Message("user", prompt)]
        if meanwhile is not None:
            await meanwhile
        result = ChatResult(model=alias, text=prompt.upper(), finish="stop")
        return str(await self.sessions.remember(self.manager, alias, name, messages, result))

    async def texts(self, alias: str = "m", name: str = "t") -> str:
        """Return the texts of a session, as this face sees it."""
        await self.sessions.pull(self.manager, alias, name)
        return "".join(str(turn.content) for turn in self.sessions.get(name, []))


@pytest.fixture
def faces() -> tuple[Face, Face]:
    pools = Pools()
    return Face(pools), Face(pools)


async def test_a_session_goes_on_in_another_face(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    assert await notebook.ask("a") == ""
    assert await shell.ask("b") == ""
    assert await notebook.ask("c") == ""
    assert await notebook.texts() == await shell.texts() == "aAbBcC"


async def test_two_faces_at_once_lose_no_turn_and_the_slower_one_is_told(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    await notebook.ask("a")
    told = await notebook.ask("b", meanwhile=shell.ask("c"))
    assert "continued elsewhere meanwhile" in told
    assert await notebook.texts() == await shell.texts() == "aAcCbB"


async def test_removal_by_another_face_is_respected(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    await notebook.ask("a")
    await shell.sessions.remove(shell.manager, "m", "t")
    assert await notebook.texts() == ""
    assert "t" not in notebook.sessions
    await notebook.ask("b")
    assert await shell.texts() == "bB"


async def test_a_session_that_its_deployment_has_forgotten_goes_on_from_the_notebook(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    await notebook.ask("a")
    del notebook.manager.connection.pools["m"]  # type: ignore[attr-defined]  # undeployed, and deployed again
    assert await shell.texts() == ""
    await notebook.ask("b")
    assert await shell.texts() == "aAbB"


async def test_a_session_goes_on_with_another_model_in_the_same_notebook(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    await notebook.ask("a", "m")
    await notebook.ask("b", "other")
    await notebook.ask("c", "m")
    assert await notebook.texts() == await shell.texts("m") == "aAbBcC"
    assert await Face(notebook.manager.connection).texts("other") == "aAbB"  # type: ignore[arg-type]  # these pools
    await shell.ask("d", "m")
    assert await notebook.texts() == "aAbBcCdD"


async def test_an_edited_turn_replaces_what_follows_it(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    await notebook.ask("a")
    await notebook.ask("b")
    notebook.sessions["t"] = [*notebook.sessions["t"][:2], Message("user", "x"), Message("assistant", "X")]
    assert await notebook.sessions.push(notebook.manager, "m", "t") == ""
    assert await shell.texts() == "aAxX"


async def test_names_that_nobody_has_chosen_stay_here(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    notebook.sessions.private.add("t")
    await notebook.ask("a")
    assert await shell.texts() == ""
    await shell.ask("b")
    assert await notebook.texts() == "aA"


async def test_what_cannot_be_stored_is_kept_here_and_told(faces: tuple[Face, Face]) -> None:
    notebook, shell = faces
    await notebook.ask("a")
    pool = notebook.manager.connection.pools["m"].kept._sessions  # type: ignore[attr-defined]  # of this test
    pool._bounds = kept_sessions.Bounds(session_bytes=100)
    assert "The session t is not shared: The session t has" in await notebook.ask("b" * 200)
    assert await shell.texts() == "aA"
    pool._bounds = kept_sessions.Bounds()
    assert await notebook.ask("c") == ""
    assert (await shell.texts()).endswith("BcC")


async def test_a_deployment_that_cannot_keep_sessions_changes_nothing(
    faces: tuple[Face, Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook, _shell = faces

    async def refused(*_: Any) -> Any:
        raise errors.CommandError("Malformed call 'session': no method 'session'.")

    monkeypatch.setattr("byzer_magic.client.sessions.call", refused)
    assert await notebook.ask("a") == ""
    assert await notebook.ask("b") == ""
    assert await notebook.texts() == "aAbB"


async def test_a_turn_without_text_is_told(faces: tuple[Face, Face]) -> None:
    notebook, _shell = faces
    assert "the response has no text" in await notebook.ask("")


@given(LETTERS, LETTERS, LETTERS)
def test_together_has_all_of_theirs_and_what_was_added_here(base: Any, theirs: Any, mine: Any) -> None:
    found = together(base, [*base, *theirs], [*base, *mine])
    assert found[: len(base) + len(theirs)] == [*base, *theirs]
    assert found == [*base, *mine] or found == [*base, *theirs, *mine]


@given(LETTERS, LETTERS)
def test_together_changes_nothing_where_one_side_has_not_changed(base: Any, new: Any) -> None:
    assert together(base, [*base, *new], base) == [*base, *new]
    assert together(base, base, [*base, *new]) == [*base, *new]
    assert together(base, new, base) == new, "also where turns were replaced or removed"

"""Prompts as functions: what they send, how they ask, what they return."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pydantic
import pytest

import byzer_magic as bz
from byzer_magic.client import current
from byzer_magic.client.model import Model
from byzer_magic.errors import CommandError, MalformedResponse
from byzer_magic.types import ChatRequest
from tests.answering import Answering


class Story(pydantic.BaseModel):
    title: str


def echo(request: ChatRequest) -> str:
    return f"Echo: {request.messages[-1].content}"


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Answering:
    manager = Answering(echo)
    monkeypatch.setattr(current, "current_manager", lambda: manager)
    return manager


@bz.prompt("m", temperature=0)
def hello(name: str, mark: str = "!") -> str:
    """Hello {{ name }}{{ mark }}"""


class Bot:
    def __init__(self, alias: str, greeting: str) -> None:
        self.alias = alias
        self.greeting = greeting

    @bz.prompt(lambda self: self.alias)
    def greet(self, name: str) -> dict[str, str]:  # type: ignore[empty-body]
        """{{ greeting }} {{ name }}"""
        return {"greeting": self.greeting}

    @bz.prompt()
    def plain(self, name: str) -> str:
        """{{ name }}"""
        return {"name": name.upper()}  # type: ignore[return-value]


def test_call_asks_with_the_prompt_and_the_options(manager: Answering) -> None:
    assert hello("Ann") == "Echo: Hello Ann!"
    assert hello.run(name="Bob", mark="?") == "Echo: Hello Bob?"
    assert manager.requests[0].options == {"temperature": 0}
    assert hello.__name__ == "hello"
    assert hello.__doc__ == "Hello {{ name }}{{ mark }}"


def test_prompt_without_a_model_is_text(manager: Answering) -> None:
    assert Bot("m", "Hi").plain("ann") == "ANN"
    assert not manager.requests
    with pytest.raises(CommandError, match="plain has no model"):
        Bot("m", "Hi").plain.run("ann")


def test_decorator_works_without_parentheses(manager: Answering) -> None:
    @bz.prompt
    def greet(name: str) -> str:
        """Hi {{ name }}"""

    assert greet("Ann") == "Hi Ann"
    assert greet.with_llm("m").run("Ann") == "Echo: Hi Ann"


def test_functions_that_choose_the_model_are_lambdas_or_named(manager: Answering) -> None:
    def choose() -> str:
        """Return the alias."""
        return "m"

    for decorator in (bz.prompt(llm=choose), bz.prompt(lambda: choose()), bz.prompt(llm="m"), bz.prompt("m")):

        @decorator
        def greet(name: str) -> str:
            """Hi {{ name }}"""

        assert greet("Ann") == "Echo: Hi Ann"


def test_decorator_without_parentheses_needs_a_docstring() -> None:
    with pytest.raises(CommandError, match="choose has no docstring") as caught:

        @bz.prompt
        def choose() -> str:
            return "m"

    assert "llm=" in caught.value.hint


def test_coroutine_functions_are_no_prompts() -> None:
    with pytest.raises(CommandError, match="coroutine function"):

        @bz.prompt("m")
        async def greet(name: str) -> str:
            """Hello {{ name }}"""
            return name


def test_schema_is_the_annotation(manager: Answering) -> None:
    with pytest.raises(CommandError, match="annotation"):
        hello.options(schema=Story)("Ann")


def test_types_of_the_functions_around_are_found(manager: Answering) -> None:
    class Local(pydantic.BaseModel):
        title: str

    @bz.prompt("m")
    def story() -> "Local":  # type: ignore[return]  # noqa: UP037
        """Tell a story."""
        return {"kind": Local.__name__}  # type: ignore[return-value]  # what it names it has

    manager._answers[:] = ['{"title": "x"}']
    assert story() == Local(title="x")


def test_prompt_refuses_wrong_arguments_like_any_function(manager: Answering) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'name'"):
        hello()
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        hello("Ann", town="Paris")


def test_method_asks_the_model_of_its_object_with_added_values(manager: Answering) -> None:
    manager._answers[:] = ['{"said": "Hi Ann"}']
    assert Bot("m", "Hi").greet("Ann") == {"said": "Hi Ann"}
    assert manager.texts()[0][1].startswith("Hi Ann\n\nRespond with JSON")
    assert Bot.greet.prompt is not None  # of the class: nothing is bound


def test_model_may_be_an_alias_a_model_or_a_function(manager: Answering) -> None:
    for llm in ("m", Model("m", manager), lambda: "m", lambda _self: Model("m", manager)):
        assert hello.with_llm(llm).run("Ann") == "Echo: Hello Ann!"
    with pytest.raises(CommandError, match="The model of hello is a int"):
        hello.with_llm(3).run("Ann")


def test_with_returns_a_copy(manager: Answering) -> None:
    loud = hello.with_extractor(str.upper).options(max_tokens=3)
    assert loud("Ann") == "ECHO: HELLO ANN!"
    assert manager.requests[-1].options == {"temperature": 0, "max_tokens": 3}
    assert hello("Ann") == "Echo: Hello Ann!"
    assert loud.reset()("Ann") == "Echo: Hello Ann!"


def test_copies_do_not_meet_in_threads(manager: Answering) -> None:
    barrier = threading.Barrier(8)

    def ask(number: int) -> str:
        changed = hello.with_extractor(lambda text: f"{number} {text}")
        barrier.wait()
        return str(changed(f"{number}"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [f"{number} Echo: Hello {number}!" for number in range(8)]


def test_generator_streams(manager: Answering) -> None:
    @bz.prompt("m")
    def story() -> Generator[str, None, None]:
        """Tell a story."""

    @bz.prompt("m")
    def poem() -> Iterator[str]:
        """Tell a story."""

    assert list(story()) == list(poem()) == ["Echo: ", "Tell ", "a ", "story.", ""]
    assert manager.requests[0].stream


def test_annotation_is_the_type_of_the_value(manager: Answering) -> None:
    @bz.prompt("m")
    def story() -> Story:
        """Tell a story."""

    manager._answers[:] = ['{"title": 1}', '{"title": "Snow"}']
    assert story() == Story(title="Snow")
    manager._answers[:] = ["No."]
    with pytest.raises(MalformedResponse):
        story()


def test_annotation_that_cannot_be_resolved_is_named(manager: Answering) -> None:
    class Inner(pydantic.BaseModel):
        title: str

    @bz.prompt("m")
    def story(unknown: Nothing) -> Inner:  # type: ignore[name-defined]  # noqa: F821 - only the return type counts
        """Tell a story."""

    with pytest.raises(CommandError, match="story: the type Inner in its annotations is not defined"):
        story(1)
    story.function.__annotations__["return"] = Inner
    manager._answers[:] = ['{"title": "Snow"}']
    assert story(1) == Inner(title="Snow")


def test_return_type_reads_what_the_prompt_asks_for(manager: Answering) -> None:
    manager._answers[:] = ['"title": "Snow"}']
    found = hello.with_return_type(Story).with_return_prefix("{").run("Ann")
    assert found == Story(title="Snow")
    assert manager.texts() == [("user", "Hello Ann!"), ("assistant", "{")]
    assert "response_format" not in manager.requests[-1].options


def test_return_type_asks_again_in_full_after_a_prefix(manager: Answering) -> None:
    manager._answers[:] = ["nothing", '{"title": "Snow"}']
    assert hello.with_return_type(Story).with_return_prefix("{").run("Ann") == Story(title="Snow")
    assert [role for role, _text in manager.texts()] == ["user", "assistant", "user"]


def test_prefix_is_part_of_what_is_extracted_only(manager: Answering) -> None:
    manager._answers[:] = ["two"]
    assert hello.with_return_prefix("one ").run("Ann") == "two"
    assert hello.with_return_prefix("one ").with_extractor(str.split).run("Ann") == ["one", "two"]


def test_stop_conversation_and_meta_go_with_the_request(manager: Answering) -> None:
    known: list[Any] = []
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    hello.with_conversation(before).with_stop_suffix_list(["x"]).with_meta(known.append).run("Ann")
    assert manager.texts() == [("user", "Hi"), ("assistant", "Hello"), ("user", "Hello Ann!")]
    assert manager.requests[0].options["stop"] == ["x"]
    assert [result.usage.completion_tokens for result in known] == [3]


def test_marks_join_the_turns_of_a_long_response(manager: Answering) -> None:
    manager._answers[:] = ["<RESPONSE>once ", "upon a ", "time</RESPONSE>"]
    marked = hello.with_response_markers()
    assert marked.run("Ann") == "once upon a time"
    roles = [role for role, _text in manager.texts()]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert "<RESPONSE>" in manager.texts(0)[0][1]
    manager._answers[:] = ["<A>one<B>"]
    assert hello.with_response_markers(["<A>", "<B>"]).with_auto_remove_response_markers(False).run("x") == "<A>one<B>"


@pytest.mark.parametrize("marks", [["<A>"], ["<A>", "<B>", "<C>"], "<>"])
def test_marks_are_two(marks: Any) -> None:
    with pytest.raises(ValueError, match="two texts"):
        hello.with_response_markers(marks)


def test_marks_end_after_some_turns_and_after_an_empty_one(manager: Answering) -> None:
    manager._answers[:] = ["more "]
    assert hello.with_response_markers().with_max_turns(3).with_continue_prompt("Go on!").run("Ann") == "more " * 3
    assert manager.texts()[-1] == ("user", "Go on!")
    manager.requests.clear()
    manager._answers[:] = ["more ", " "]
    hello.with_response_markers().run("Ann")
    assert len(manager.requests) == 2


def test_marks_are_removed_from_a_stream(manager: Answering) -> None:
    @bz.prompt("m")
    def story() -> Generator[str, None, None]:
        """Tell a story."""

    manager._answers[:] = ["<RESPONSE>once upon", " a time</RESPONSE>"]
    assert "".join(story.with_response_markers().run()) == "once upon a time"


def test_function_must_return_values_by_name(manager: Answering) -> None:
    @bz.prompt("m")
    def wrong() -> str:
        """Text"""
        return "x"

    with pytest.raises(TypeError, match="wrong returned a str: return a dict"):
        wrong()


def test_image_goes_with_the_prompt(manager: Answering) -> None:
    hello.options(image=b"\x89PNG\r\n\x1a\n" + bytes(20), system="Short.").run("Ann")
    [(system, _), (user, parts)] = manager.texts()
    assert (system, user) == ("system", "user")
    assert [getattr(part, "mime", "text") for part in parts] == ["text", "image/png"]

"""`byzerllm.prompt` where it differs from `bz.prompt`: clients, settings, pairs of streams, lists, None."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import pydantic
import pytest

from byzer_magic.client import current
from byzer_magic.client.model import Model
from byzer_magic.compat.llm import ByzerLLM
from byzer_magic.compat.prompts import MetaHolder, prompt
from byzer_magic.compat.qa_pairs import MemoryManager, QAPair, to_qa_pairs
from byzer_magic.compat.values import AudioPath, Bool, ImagePath, Int
from byzer_magic.errors import CommandError, MalformedResponse
from byzer_magic.types import ChatRequest, Media
from tests.answering import Answering


class Person(pydantic.BaseModel):
    name: str


def echo(request: ChatRequest) -> str:
    return f"Echo: {request.messages[-1].content}"


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Answering:
    manager = Answering(echo)
    monkeypatch.setattr(current, "current_manager", lambda: manager)
    return manager


def llm(alias: str = "m") -> ByzerLLM:
    return ByzerLLM.from_default_model(alias)


def greeting() -> Any:
    @prompt()
    def hello(q: str) -> str:
        """
        你好, {{ q }}{{ unknown }}
        """

    return hello


def test_prompt_keeps_the_lines_of_the_docstring_and_empty_names(manager: Answering) -> None:
    assert greeting().prompt("你是谁") == greeting()("你是谁") == "\n你好, 你是谁"
    assert not manager.requests


@pytest.mark.parametrize("client", [llm(), "m", lambda: llm(), lambda _self: llm()])
def test_prompt_asks_any_kind_of_client(manager: Answering, client: Any) -> None:
    assert greeting().with_llm(client).run("Ann").strip() == "Echo: \n你好, Ann"


def test_prompt_asks_a_model_and_what_is_like_a_client(manager: Answering) -> None:
    class Wrapper:
        def chat_oai(self, conversations: Any, **options: Any) -> Any:
            return llm().chat_oai(conversations, **options)

    for client in (Model("m", manager), Wrapper()):
        assert greeting().with_llm(client).run("Ann").endswith("Ann")

    @prompt(Wrapper())
    def person() -> Person:
        """Who?"""

    manager._answers[:] = ['{"name": "Ann"}']
    assert person() == Person(name="Ann")
    manager._answers[:] = ["nobody"]
    with pytest.warns(RuntimeWarning, match="person returns None: Wrapper did not respond with a valid Person"):
        assert person() is None
    with pytest.raises(CommandError, match="hello has no model"):
        greeting().run("Ann")


def test_client_that_was_set_on_a_function_stays(manager: Answering) -> None:
    hello = greeting()
    hello.with_llm(llm())
    assert hello("Ann").startswith("Echo")
    assert hello.reset().run("Ann").startswith("Echo")


def test_what_was_set_on_a_function_stays_until_reset(manager: Answering) -> None:
    hello = greeting()
    hello.with_llm(llm()).options({"llm_config": {"seed": 3}})
    hello.with_extractor(str.upper)
    assert hello.run("Ann").strip() == "ECHO: \n你好, ANN"
    assert manager.requests[0].options == {"seed": 3}
    copy = hello.with_extractor(len)
    assert hello.reset().run("Ann").startswith("Echo")
    assert hello.run("Ann").startswith("Echo")
    assert manager.requests[2].options == {"seed": 3}
    assert copy.run("Ann") == len("Echo: \n你好, Ann")


def test_client_that_was_set_on_a_method_does_not_stay(manager: Answering) -> None:
    class Bot:
        @prompt()
        def hello(self, q: str) -> str:
            """{{ q }}"""

    bot = Bot()
    assert bot.hello.with_llm(llm()).run("Ann") == "Echo: Ann"
    assert bot.hello("Ann") == "Ann"


def test_options_are_the_arguments_of_chat_oai(manager: Answering) -> None:
    asked = greeting().with_llm(llm()).options({"llm_config": {"max_length": 10}, "model": "other"})
    asked.with_stop_suffix_list(["}"]).run("Ann")
    assert manager.requests[0].options == {"max_tokens": 10, "stop": ["}"]}


def test_decorator_of_a_client_asks_that_client(manager: Answering) -> None:
    @llm().prompt(model="other", options={"llm_config": {"temperature": 0}})
    def story(theme: str) -> str:
        """A story: {{ theme }}"""

    assert story(theme="snow") == "Echo: A story: snow"
    assert manager.requests[0].options == {"temperature": 0}


def test_stream_yields_texts_and_with_marks_pairs(manager: Answering) -> None:
    @prompt()
    def story() -> Generator[str, None, None]:
        """Tell."""

    assert "".join(story.with_llm(llm()).run()) == "Echo: Tell."
    manager._answers[:] = ["<RESPONSE>one", "two</RESPONSE>"]
    pairs = list(story.with_llm(llm()).with_response_markers().options({"llm_config": {"max_length": 10}}).run())
    assert "".join(text for text, _known in pairs) == "<RESPONSE>onetwo</RESPONSE>"
    assert manager.requests[-1].options == {"max_tokens": 10}


def test_annotation_is_a_value_or_none_with_a_warning(manager: Answering) -> None:
    @prompt()
    def add(a: int, b: int) -> Int:
        """{{ a }} + {{ b }}"""

    manager._answers[:] = ['{"value": 3}']
    assert add.with_llm(llm()).run(1, 2).value == 3
    manager._answers[:] = ["three"]
    with pytest.warns(RuntimeWarning, match="add returns None: m did not respond with a valid Int"):
        assert add.with_llm(llm()).run(1, 2) is None


def test_return_type_is_one_value_or_several(manager: Answering) -> None:
    manager._answers[:] = ['"name": "张三"}]']
    asked = greeting().with_llm(llm()).with_return_type(Person)
    assert asked.with_return_prefix("[{").run("x") == [Person(name="张三")]
    manager._answers[:] = ['```json\n{"name": "李四"}\n```']
    assert asked.run("x") == Person(name="李四")
    manager._answers[:] = ["?"]
    with pytest.raises(MalformedResponse):
        asked.run("x")


def test_meta_holder_keeps_the_last_response(manager: Answering) -> None:
    holder = MetaHolder()
    assert holder.get_meta_model() is None
    greeting().with_llm(llm()).with_meta(holder).run("Ann")
    assert holder.get_meta()["generated_tokens_count"] > 0
    assert holder.get_meta_model().model_dump()["finish_reason"] == "stop"  # type: ignore[union-attr]

    @prompt(llm())
    def story() -> Generator[str, None, None]:
        """Tell."""

    assert list(story.with_meta(holder).run())
    assert holder.get_meta()["input_tokens_count"] == 7


def test_media_in_templates_become_parts(manager: Answering, tmp_path: Any) -> None:
    image = tmp_path / "x.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    audio = tmp_path / "x.mp3"
    audio.write_bytes(b"ID3" + bytes(200))

    @prompt(llm())
    def look(picture: Any) -> str:
        """
        {{ picture }}
        What is this?
        """

    look(ImagePath(value=str(image)))
    [(_role, [media, text])] = manager.texts()
    assert isinstance(media, Media)
    assert text["text"] == "What is this?"
    look(AudioPath(value=str(audio)))
    assert manager.texts()[0][1][0].mime.startswith("audio/")


def test_nothing_warns_without_reason(manager: Answering) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @prompt(llm())
        def rm(command: str) -> Bool:
            """{{ command }}"""

        manager._answers[:] = ["```json\n{'value': True}\n```"]
        assert rm("ls").value is True


GROUPS = "<_group_> <_question_>{0}?</_question_> <_answer_>{0}</_answer_> </_group_>"


def test_pairs_are_asked_for_until_there_are_enough(manager: Answering) -> None:
    manager._answers[:] = [GROUPS.format("one"), GROUPS.format("two")]
    assert to_qa_pairs("text", llm(), num=20) == [QAPair(question=f"{n}?", answer=n) for n in ("one", "two")]
    assert "one? one" in manager.texts()[0][1]
    manager._answers[:] = ["nothing"]
    assert MemoryManager(storage=None, base_dir="").to_qa_pairs("text", llm()) == []
    with pytest.raises(ImportError, match="trains models"):
        MemoryManager().memorize("name", ["text"])

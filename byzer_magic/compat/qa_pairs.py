"""Questions and answers made from a text: what byzer-llm's notebooks use of its training modules."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from byzer_magic.compat.names import left_out
from byzer_magic.compat.prompts import prompt
from byzer_magic.compat.tags import Tag, TagExtractor

_AT_ONCE = 10
"""Pairs that are asked for in one request."""


class QAPair(BaseModel):
    """A question and its answer."""

    question: str
    answer: str


@prompt()
def _pairs(text: str, count: int, known: str) -> str:  # type: ignore[empty-body]  # the docstring is the prompt
    """根据下面的资料，编写 {{ count }} 组问答。所有问答合起来要覆盖资料中的全部信息，答案只能来自资料。

    资料：
    {{ text }}
    {% if known %}
    已有的问答如下，不要重复：
    {{ known }}
    {% endif %}
    每组写成一行，格式如下：
    <_group_><_question_>问题</_question_><_answer_>答案</_answer_></_group_>
    """  # noqa: D415 - a prompt


def to_qa_pairs(text: str, llm: Any, num: int = 20) -> list[QAPair]:
    """Return questions about a text, with their answers, as a model writes them.

    Args:
        text: what the questions are about.
        llm: a `ByzerLLM`.
        num: how many to ask for.
    """
    found: list[QAPair] = []
    for _turn in range(max(1, -(-num // _AT_ONCE))):
        known = "\n".join(f"{pair.question} {pair.answer}" for pair in found)
        written = _pairs.with_llm(llm).run(text, min(num, _AT_ONCE), known)
        fresh = [pair for pair in read_pairs(written) if pair not in found]
        if not fresh:
            break
        found += fresh
    return found


def read_pairs(text: str) -> list[QAPair]:
    """Return the pairs in a response; a group that is not complete is left out.

    Example:
        >>> read_pairs("<_group_><_question_>Who?</_question_><_answer_>Ann</_answer_></_group_>")
        [QAPair(question='Who?', answer='Ann')]
    """
    groups = (_by_name(group) for group in TagExtractor(text).extract().content)
    return [
        QAPair(question=group["<_question_>"], answer=group["<_answer_>"])
        for group in groups
        if {"<_question_>", "<_answer_>"} <= group.keys()
    ]


def _by_name(group: Tag) -> dict[str, str]:
    tags = group.content if isinstance(group.content, list) else []
    return {tag.start_tag: tag.content.strip() for tag in tags if isinstance(tag, Tag) and isinstance(tag.content, str)}


class MemoryManager:
    """Makes questions and answers; what byzer-llm trains with them is left out."""

    def __init__(
        self, storage: Any = None, base_dir: str = "", model_name: str = "deepseek_chat", **_more: Any
    ) -> None:
        self.storage = storage
        self.base_dir = base_dir
        self.model_name = model_name

    def to_qa_pairs(self, text: str, llm: Any) -> list[QAPair]:
        """Return questions about a text, with their answers."""
        return to_qa_pairs(text, llm)

    def __getattr__(self, name: str) -> Any:
        """Refuse what trains.

        Raises:
            LeftOut: it is left out.
            AttributeError: it is a private name.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        raise left_out(f"byzerllm.apps.byzer_storage.train.{name}")

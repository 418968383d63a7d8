"""Several models in columns, and their judge."""

from __future__ import annotations

import pytest

from byzer_magic.errors import CommandError
from byzer_magic.i18n import using
from byzer_magic.magics import columns as asking


@pytest.mark.parametrize(("text", "found"), [("a", ["a"]), ("a,b", ["a", "b"]), ("a, b ,c", ["a", "b", "c"])])
def test_names_are_separated_by_commas(text: str, found: list[str]) -> None:
    assert asking.names(text) == found


@pytest.mark.parametrize("text", ["a,", ",a", "a,,b", "a,b,a"])
def test_names_rejects_missing_and_repeated_aliases(text: str) -> None:
    with pytest.raises(CommandError):
        asking.names(text)


def test_lettered_order_reveals_nothing() -> None:
    aliases = [f"m{number}" for number in range(30)]
    letters = asking.lettered("why?", aliases)
    assert letters == asking.lettered("why?", aliases[::-1]), "the order in which they were named does not matter"
    assert letters != asking.lettered("why not?", aliases)
    assert list(letters) != sorted(letters)
    assert sorted(letters.values(), key=lambda item: (len(item), item))[25:27] == ["Z", "AA"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_judge_messages_quote_the_answers(lang: str) -> None:
    texts = {"gpt": "one {x}", "qwen": "two </answer>"}
    letters = {"qwen": "A", "gpt": "B"}
    with using(lang):
        system, asked = asking.judge_messages("why {y}?", texts, letters)
    assert (system.role, asked.role) == ("system", "user")
    output = str(asked.content)
    assert output.index("two") < output.index("one {x}")
    assert "why {y}?" in output
    assert "gpt" not in output
    assert "qwen" not in output
    assert output.count("</answer>") == 2, "an answer cannot end its own quotation"

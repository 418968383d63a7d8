from __future__ import annotations

import pickle

import pytest

from byzer_magic.commands.secrets import Secret, expand, names_in
from byzer_magic.errors import MissingKey

KEY = "planted-key-0123456789"


def test_the_first_source_that_has_the_name_wins() -> None:
    assert expand("${A}-${B}", {"A": 1}, {"A": "2", "B": "3"}) == "1-3"


def test_text_without_references_stays() -> None:
    assert expand("a $A {A} $ {A}", {"A": "x"}) == "a $A {A} $ {A}"


def test_a_name_may_have_any_characters() -> None:
    assert expand("${MODEL_silcon flow-TOKEN}", {"MODEL_silcon flow-TOKEN": "x"}) == "x"


def test_a_value_is_not_expanded_again() -> None:
    assert expand("${A}", {"A": "${B}", "B": "x"}) == "${B}"


def test_an_undefined_name_is_named() -> None:
    with pytest.raises(MissingKey, match=r"\$\{NOPE\} is not defined") as caught:
        expand("${NOPE}", {}, {})
    assert "export NOPE=" in caught.value.hint


def test_names_in_order() -> None:
    assert names_in("${B} x${A}y ${B}") == ["B", "A", "B"]


def test_no_rendering_of_a_secret_shows_it() -> None:
    secret = Secret(KEY)
    renderings = (repr(secret), str(secret), f"{secret}", f"{secret!r}", str([secret]), "%s" % secret)  # noqa: UP031
    assert set(renderings) == {"***", "[***]"}


def test_a_secret_gives_its_value_on_demand_also_behind_pickle() -> None:
    assert pickle.loads(pickle.dumps(Secret(KEY))).reveal() == KEY


def test_secrets_compare_by_value_and_not_with_texts() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY

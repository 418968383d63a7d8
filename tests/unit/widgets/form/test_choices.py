"""What a form can start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.actions.model_search import Found
from byzer_magic.errors import UnknownKind
from byzer_magic.widgets.form import (
    choices as form_choices,
)
from byzer_magic.widgets.form.values import PARAM, from_text, spec_of
from tests.unit.commands.test_seed import COMMANDS

API_KEY = f"{PARAM}saas.api_key"


DEPLOYS = [name for name, text in COMMANDS.items() if " deploy " in text]


def test_choices_are_presets_providers_and_engines() -> None:
    rows = form_choices.choices()
    assert len({row.id for row in rows}) == len(rows) > 60
    assert {row.group for row in rows} == {"preset", "provider", "engine"}
    for row in rows:
        values = form_choices.chosen(row.id, {}, (), ())
        spec_of(values | {"model": values.get("model") or "x"})
        assert not any(name.endswith("api_key") for name in values), "no key without a variable"


def test_chosen_takes_a_known_key_and_keeps_filled_in_fields() -> None:
    values = form_choices.chosen(
        "preset:deepseek-chat", {"model": "mine", API_KEY: "${OTHER}"}, (), ["DEEPSEEK_API_KEY"]
    )
    assert values["model"] == "mine"
    assert values[API_KEY] == "${DEEPSEEK_API_KEY}"


@pytest.mark.parametrize("choice", ["preset:deepseek-chat", "saas/openai", "vllm", "auto"])
def test_chosen_asks_the_model_once_unless_that_was_switched_off(choice: str) -> None:
    assert form_choices.chosen(choice, {}, (), ())["check"] == "true"
    assert "check" not in form_choices.chosen(choice, {"check": ""}, (), ())


def test_chosen_local_model_has_engine_and_alias() -> None:
    path = Path("/models/SmolLM2-135M.Q4_1.gguf")
    found = [Found(path=path, engine="llama_cpp"), Found(path=Path("/m/w"), engine="custom/whisper")]
    values = form_choices.chosen(f"path:{path}", {}, found, ())
    named = {"model": "smollm2_135m_q4_1", "model_path": str(path), "infer_backend": "llama_cpp"}
    assert values == named | {"check": "true"}
    assert form_choices.chosen("path:/m/w", {}, found, ())["pretrained_model_type"] == "custom/whisper"
    rows = form_choices.models(found)
    assert [row.group for row in rows] == ["here", "here"]


@pytest.mark.parametrize(
    ("word", "choice"),
    [
        ("deepseek-chat", "preset:deepseek-chat"),
        ("saas/openai", "saas/openai"),
        ("vllm", "vllm"),
        ("custom/auto", "auto"),
    ],
)
def test_find_returns_the_choice_of_a_name(word: str, choice: str) -> None:
    assert form_choices.find(word) == choice


def test_find_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownKind) as caught:
        form_choices.find("deepseek-chta")
    assert "deepseek-chat" in caught.value.hint


@pytest.mark.parametrize("name", [name for name in DEPLOYS if "<" not in COMMANDS[name]])
def test_id_of_is_a_known_choice(name: str) -> None:
    choice = form_choices.id_of(from_text(COMMANDS[name]))
    assert choice.startswith("path:") or choice in {row.id for row in form_choices.choices()}

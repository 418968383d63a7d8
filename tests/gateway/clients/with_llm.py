"""`llm`, the command: models of `extra-openai-models.yaml`."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import llm
import pytest
from click.testing import CliRunner
from given import CHATS, KEY, NO_MODEL, V1, WRONG_KEY, Place, weather
from llm.cli import cli
from llm.default_plugins import openai_models

MODEL = (
    "- {{model_id: {id}, model_name: {name}, api_base: {url}, api_key_name: endpoint, supports_tools: true, {more}}}\n"
)


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of `llm`, with the models of the endpoint."""
    folder = tmp_path_factory.mktemp("llm")
    rows = [
        MODEL.format(id=f"{more}{name}", name=name, url=V1, more="supports_schema: true" + end)
        for name in (*CHATS, NO_MODEL)
        for more, end in (("", ""), ("responses-", ", responses: true"))
    ]
    (folder / "extra-openai-models.yaml").write_text("".join(rows))
    (folder / "keys.json").write_text(json.dumps({"endpoint": KEY, "wrong": WRONG_KEY}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_USER_PATH", str(folder))
        # For each command, `llm` builds the options of some hundred models anew: half a second.
        patch.setattr(openai_models, "build_options_class", functools.cache(openai_models.build_options_class))
        yield folder


def command(*words: str) -> str:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    return done.output.strip()


MODELS = pytest.mark.parametrize("model", [*CHATS, *(f"responses-{model}" for model in CHATS)])


@pytest.mark.parametrize("model", ["gpt", "responses-claude"])
def test_answers_and_goes_on(model: str) -> None:
    assert command("-m", model, "hello big world", "--no-stream") == "Echo: hello big world"
    assert command("-c", "and again") == "Echo: and again"
    [log] = json.loads(command("logs", "-n", "1", "--json"))
    assert log["output_tokens"] > 0


@MODELS
def test_streams(model: str) -> None:
    pieces = list(llm.get_model(model).prompt("hello big world", key=KEY))
    assert sum(map(bool, pieces)) > 1
    assert "".join(pieces) == "Echo: hello big world"


@MODELS
def test_calls_tools(model: str) -> None:
    text = llm.get_model(model).chain("tool:weather", tools=[weather], key=KEY).text()
    assert "18 degrees in Paris" in text


@pytest.mark.parametrize("model", ["claude", "responses-gpt"])
def test_structured_output(model: str) -> None:
    schema = json.dumps(Place.model_json_schema())
    assert Place.model_validate_json(command("-m", model, "Where?", "--schema", schema))


def test_errors() -> None:
    for words, expected in ((("-m", NO_MODEL), "gpt"), (("-m", "gpt", "--key", "wrong"), "API key")):
        done = CliRunner().invoke(cli, [*words, "hi"])
        assert done.exit_code == 1
        assert done.output.startswith("Error: ")
        assert expected in done.output

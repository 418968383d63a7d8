"""The shell's face where no Ray is needed: streams and exit statuses."""

from __future__ import annotations

import pytest

from byzer_magic.cli import easy_main, main

SAAS = ("deploy", "--model", "m", "--pretrained_model_type", "saas/openai", "--infer_params", "saas.model=x")


def test_help_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--help"]) == 0
    assert "--pretrained_model_type" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["deploy"], 2, "--model"),
        (["deploy", "--modle", "x"], 2, "Did you mean --model?"),
        (["depoly"], 2, "deploy"),
        ([*SAAS, "saas.temprature=1"], 1, "saas.temperature"),
        ([*SAAS, "saas.api_key=${NOT_SET_ANYWHERE}"], 1, "NOT_SET_ANYWHERE"),
        (["connect", "--ray_address", "127.0.0.1:9"], 1, "Nothing answers"),
        (["connect", "--ray_address", "nowhere"], 1, "not an address"),
    ],
)
def test_a_mistake_goes_to_stderr_and_has_its_status(
    words: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert "Traceback" not in shown.err


def test_dry_run_prints_the_spec_without_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SAAS, "saas.api_key=sk-planted-123456", "--dry_run"]) == 0
    shown = capsys.readouterr()
    assert "saas.api_key=" in shown.out
    assert "--model m" in shown.out
    assert "planted" not in shown.out + shown.err


def test_easy_dry_run_fills_in_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert easy_main(["deploy", "deepseek-chat", "--token", "sk-planted-123456", "--dry_run"]) == 0
    shown = capsys.readouterr()
    assert "saas.base_url=https://api.deepseek.com" in shown.out
    assert "planted" not in shown.out + shown.err


def test_presets_are_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    assert "moonshot-v1-32k" in capsys.readouterr().out
    assert main(["presets", "--json"]) == 0
    assert '"preset": "gpt4o"' in capsys.readouterr().out

"""The shell's face where no Ray is needed: streams and exit statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.cli import easy_main, main
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import resolve

SAAS = ("deploy", "--model", "m", "--pretrained_model_type", "saas/openai", "--infer_params", "saas.model=x")


def test_cli_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--help"]) == 0
    assert "--pretrained_model_type" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["deploy"], 2, "--model"),
        (["deploy", "--modle", "x"], 2, "Did you mean --model?"),
        (["depoly"], 2, "deploy"),
        ([*SAAS, "saas.temprature=1"], 1, "saas.temperature"),
        ([*SAAS, "saas.api_key=${NOT_SET_ANYWHERE}"], 1, "NOT_SET_ANYWHERE"),
        (["connect", "--ray_address", "127.0.0.1:9"], 1, "Nothing is listening"),
        (["connect", "--ray_address", "nowhere"], 1, "is not"),
        ([*SAAS, "saas.api_key="], 1, "saas.api_key is empty"),
        (["stat", "--df"], 2, "notebook only"),
        (["panel"], 2, "notebook only"),
    ],
)
def test_cli_error_goes_to_stderr_with_its_exit_status(
    words: list[str], status: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert expected in shown.err
    assert "Traceback" not in shown.err


def test_cli_dry_run_prints_the_spec_without_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    more = ["saas.proxies=http://me:planted@h:1", 'saas.extra_headers={"X": "planted"}', "--dry_run"]
    assert main([*SAAS, "saas.api_key=sk-planted-123456", *more]) == 0
    shown = capsys.readouterr()
    assert "saas.api_key=" in shown.out
    assert "--model m" in shown.out
    assert "planted" not in shown.out + shown.err


def test_cli_easy_dry_run_fills_in_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert easy_main(["deploy", "deepseek-chat", "--token", "sk-planted-123456", "--dry_run"]) == 0
    shown = capsys.readouterr()
    assert "saas.base_url=https://api.deepseek.com" in shown.out
    assert "planted" not in shown.out + shown.err


def test_cli_presets_are_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    assert "moonshot-v1-32k" in capsys.readouterr().out
    assert main(["presets", "--json"]) == 0
    assert '"preset": "gpt4o"' in capsys.readouterr().out


def test_cli_passes_an_absolute_path_to_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gguf: Path) -> None:
    (tmp_path / "model.gguf").symlink_to(gguf)
    monkeypatch.chdir(tmp_path)
    spec = DeploySpec(model="m", infer_backend="llama_cpp", model_path="model.gguf")
    assert resolve(spec, {}, {}).setup.model_path == str(tmp_path / "model.gguf")


def test_deploy_in_python_honours_dry_run() -> None:
    before = bz.default_manager().connected
    bz.deploy("--dry_run " + " ".join(SAAS[1:]) + " saas.api_key=sk-planted-123456")
    assert bz.default_manager().connected == before
    with pytest.raises(errors.ConfigError):
        bz.deploy("--dry_run " + " ".join(SAAS[1:]) + " saas.no_such=1")


@pytest.mark.parametrize(
    "setting",
    [
        'saas.extra_headers={"X-Api-Key":"planted-key-0123456789"',
        "saas.timeout=${MY_KEY}",
        "saas.base_url=${MY_KEY}",
        "saas.model_api_key=planted-key-0123456789",
        "saas.capabilities=${MY_KEY}",
        'saas.extra_body={"api_key": "planted-key-0123456789',
        "planted-key-0123456789",
    ],
)
def test_cli_errors_show_no_key(
    setting: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "planted-key-0123456789")
    assert main([*SAAS, setting]) in (1, 2)
    out, err = capsys.readouterr()
    assert "Error" in err
    assert "planted" not in out + err

"""The file of wanted deployments: complete, readable by its user only, and without a secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ConfigError
from byzer_magic.plan import Plan, resolve
from byzer_magic.runtime.fleet_file import FleetFile, wanted

KEY = "sk-test-1234567890abcd"
OPENAI = {"pretrained_model_type": "saas/openai", "model": "gpt"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BYZER_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path


def plan(environ: dict[str, str] | None = None, **params: str) -> Plan:
    """Return the plan of an API with these parameters."""
    named = {f"saas.{name}": text for name, text in params.items()}
    return resolve(DeploySpec(**OPENAI, infer_params={"saas.model": "gpt-4o", **named}), {}, environ or {})


def test_deployments_are_read_as_they_were_written() -> None:
    file = FleetFile("local")
    kept = wanted(plan({"MY_KEY": KEY}, api_key="${MY_KEY}"), "/home/ann/project", ["chat"])
    file.write({"gpt": kept})
    assert FleetFile("local").read() == {"gpt": kept}
    assert kept.spec.infer_params["saas.api_key"] == "${MY_KEY}"
    assert not kept.left_out
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_file_that_is_missing_has_no_deployments() -> None:
    assert FleetFile("10.0.0.5:6379").read() == {}


@pytest.mark.parametrize("content", ["{", '{"deployments": 3}', '{"deployments": [{"spec": {}}]}', "\x00"])
def test_file_that_is_no_fleet_is_an_error_and_stays_as_it_is(content: str) -> None:
    file = FleetFile("local")
    file.path.parent.mkdir()
    file.path.write_text(content)
    with pytest.raises(ConfigError, match=r"local\.json"):
        file.read()
    assert file.path.read_text() == content


@pytest.mark.parametrize(
    ("params", "left_out"),
    [
        ({"api_key": KEY}, ["saas.api_key"]),
        ({"api_key": "${MY_KEY}"}, []),
        ({"api_key": "env:MY_KEY"}, []),
        ({"api_key": "${MY_KEY}", "proxy": "http://ann:pw-of-ann@127.0.0.1:3128"}, ["saas.proxy"]),
        ({"api_key": "${MY_KEY}", "extra_headers": '{"x-token": "t-of-ann-123"}'}, ["saas.extra_headers"]),
    ],
)
def test_secrets_that_were_typed_are_left_out(params: dict[str, str], left_out: list[str]) -> None:
    kept = wanted(plan({"MY_KEY": KEY}, **params), "", [])
    assert kept.left_out == left_out
    file = FleetFile("local")
    file.write({"gpt": kept})
    text = file.path.read_text()
    assert not [secret for secret in (KEY, "pw-of-ann", "t-of-ann-123") if secret in text]


@given(st.from_regex(r"[\w.+/-]{12,60}", fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_no_key_is_ever_written(key: str) -> None:
    kept = wanted(plan(api_key="key-" + key), "", [])
    assert key not in str(kept.spec.infer_params)
    assert "saas.api_key" in kept.left_out


def test_file_is_whole_or_as_it_was_when_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    file = FleetFile("local")
    kept = wanted(plan({"MY_KEY": KEY}, api_key="${MY_KEY}"), "", [])
    file.write({"gpt": kept})

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write({})
    assert file.read() == {"gpt": kept}
    assert len(list(file.path.parent.iterdir())) == 1

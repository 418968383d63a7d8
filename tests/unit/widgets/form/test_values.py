"""Deployments as the texts in a form's fields, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends import registry
from byzer_magic.catalog import presets
from byzer_magic.commands.parser import parse, split
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec, FormSpec
from byzer_magic.errors import CommandError
from byzer_magic.widgets.form import (
    values as form_values,
)
from byzer_magic.widgets.form.values import PARAM, from_text, line_of, spec_of, values_of
from tests.property.test_command_roundtrip import specs
from tests.unit.commands.test_seed import COMMANDS, filled_in

KEY = "sk-planted-5f0c9d1e7a"


API_KEY = f"{PARAM}saas.api_key"


DEPLOYS = [name for name, text in COMMANDS.items() if " deploy " in text]


@given(specs(DeploySpec))
def test_spec_of_restores_any_deployment(spec: DeploySpec) -> None:
    assert spec_of(values_of(spec)) == spec


@pytest.mark.parametrize("name", DEPLOYS)
def test_from_text_restores_every_command_of_the_guide(name: str) -> None:
    text = filled_in(COMMANDS[name])
    plain = parse(split(text))
    spec = presets.spec(plain) if isinstance(plain, EasyDeploySpec) else plain
    assert spec_of(values_of(from_text(text))) == spec


@pytest.mark.parametrize(
    "text",
    [
        "%%byzer\nbyzerllm deploy --pretrained_model_type saas/openai \\\n --infer_params saas.model=m \\\n --model a",
        "!byzerllm deploy --pretrained_model_type saas/openai --infer_params saas.model=m --model a\n",
        "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.model=m --model a",
        "```\nbyzerllm deploy --pretrained_model_type saas/openai --infer_params saas.model=m --model a\n```",
    ],
)
def test_from_text_takes_cells_shells_and_fences(text: str) -> None:
    assert from_text(text) == DeploySpec(
        model="a", pretrained_model_type="saas/openai", infer_params={"saas.model": "m"}
    )


def test_from_text_leaves_a_missing_alias_empty() -> None:
    assert values_of(from_text("deploy --pretrained_model_type saas/openai")) == {
        "model": "", "pretrained_model_type": "saas/openai",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "The text contains no command."),
        ("byzerllm stat --model a", "does not deploy anything"),
        ("deploy --help", "only shows help"),
        ("deploy --modle a", "Unknown option --modle."),
        ("hello", "not a command"),
    ],
)
def test_from_text_rejects_other_commands(text: str, expected: str) -> None:
    with pytest.raises(CommandError, match=expected):
        from_text(text)


def test_from_file_reads_yaml(tmp_path: Path) -> None:
    assert parse(split("form --file deploy.yml")) == FormSpec(file="deploy.yml")
    file = tmp_path / "deploy.yml"
    file.write_text("pretrained_model_type: saas/openai\nnum_workers: 2\nsaas.model: gpt-4o\n")
    assert values_of(form_values.from_file(str(file))) == {
        "model": "", "pretrained_model_type": "saas/openai", "num_workers": "2", f"{PARAM}saas.model": "gpt-4o",
    }  # fmt: skip


@given(st.sampled_from(["saas/openai", "saas/claude", "saas/aws_bedrock", "saas/azure_openai"]))
def test_line_of_has_no_secret(kind: str) -> None:
    info = registry.find(kind).info
    hidden = [param.name for param in info.params if param.secret] + ["saas.extra_headers"]
    values = {"model": "a", "pretrained_model_type": kind} | {f"{PARAM}{name}": KEY for name in hidden}
    text = line_of(values, (), info)
    assert KEY not in text
    assert KEY not in form_values.yaml_of(values, (), info)
    assert "***" not in text, "a line with *** would deploy with that as the key"
    seen, apart = form_values.apart(values, info)
    assert KEY not in str(seen)
    assert set(apart) == {f"{PARAM}{name}" for name in hidden}
    parse(split(text))


def test_line_of_names_the_variable_of_the_provider() -> None:
    info = registry.find("saas/openai").info
    base = {"model": "a", "pretrained_model_type": "saas/openai", f"{PARAM}saas.model": "m"}
    assert "saas.api_key=${OPENAI_API_KEY}" in line_of(base, [API_KEY], info)
    deepseek = base | {f"{PARAM}saas.base_url": "https://api.deepseek.com/v1"}
    assert "saas.api_key=${DEEPSEEK_API_KEY}" in line_of(deepseek, [API_KEY], info)
    own = base | {f"{PARAM}saas.base_url": "http://10.0.0.1/v1"}
    assert "saas.api_key=${A_API_KEY}" in line_of(own, [API_KEY], info), "OpenAI's key must not go there"


def test_line_of_keeps_references() -> None:
    info = registry.find("saas/openai").info
    for text in ("${MY KEY}", "env:NAME", "keyring:byzer-magic/OPENAI_API_KEY"):
        assert text in line_of({"model": "a", API_KEY: text}, (), info)

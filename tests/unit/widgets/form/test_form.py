"""The deploy form without a notebook: fields, values, checks, the line they stand for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from byzer_magic.actions.model_search import Found
from byzer_magic.actions.output import Output
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.catalog import presets
from byzer_magic.client.manager import Manager
from byzer_magic.commands.parser import parse, split
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec, FormSpec
from byzer_magic.errors import ByzerError, CommandError, UnknownKind
from byzer_magic.i18n import LANGUAGES, using
from byzer_magic.widgets.bundle import bundle
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.form import (
    checks as form_checks,
    choices as form_choices,
    saved,
    values as form_values,
)
from byzer_magic.widgets.form.controller import Controller
from byzer_magic.widgets.form.fields import GROUPS, Bounds, fields_of
from byzer_magic.widgets.form.texts import script_texts
from byzer_magic.widgets.form.values import PARAM, from_text, line_of, spec_of, values_of
from tests.property.test_command_roundtrip import specs
from tests.unit.commands.test_seed import COMMANDS, filled_in

KEY = "sk-planted-5f0c9d1e7a"
BOUNDS = Bounds(cpus=4, gpus=0)
API_KEY = f"{PARAM}saas.api_key"
DEPLOYS = [name for name, text in COMMANDS.items() if " deploy " in text]


def infos() -> list[Info]:
    saas = [registry.find(kind).info for kind in registry.saas_kinds()]
    return saas + [backend.info for backend in registry.local().values()]


def desk(values: Mapping[str, str], variables: Mapping[str, Any] | None = None, choice: str = "") -> Controller:
    context = Context(
        manager=Manager(), output=cast("Output", None), shell=None, variables=lambda: variables or {}, sessions={},
        has_kernel=True,
    )  # fmt: skip
    return Controller(context, values, choice)


# ---- values


@given(specs(DeploySpec))
def test_any_deployment_survives_the_form(spec: DeploySpec) -> None:
    assert spec_of(values_of(spec)) == spec


@pytest.mark.parametrize("info", infos(), ids=lambda info: info.kind)
def test_every_backend_gives_fields_for_all_it_takes(info: Info) -> None:
    kind = {"pretrained_model_type": info.kind} if "/" in info.kind else {"infer_backend": info.kind}
    for lang in LANGUAGES:
        with using(lang):
            fields = fields_of(info, kind, BOUNDS)
        keys = [field.key for field in fields]
        assert len(set(keys)) == len(keys)
        assert {f"{PARAM}{param.name}" for param in info.params} <= set(keys)
        assert all(field.label and field.group in GROUPS for field in fields)
        assert json.dumps([field.choices for field in fields])
    required = {f"{PARAM}{param.name}" for param in info.params if param.required}
    assert {field.key for field in fields if field.required} == {"model", *required}
    assert all(field.kind == "secret" for field in fields if field.key.endswith("api_key"))


def test_options_that_a_provider_does_not_look_at_are_no_fields_of_it() -> None:
    names = {field.key for field in fields_of(registry.find("saas/openai").info, {}, BOUNDS)}
    assert not names & {"model_path", "infer_backend", "gpus_per_worker", "file"}
    local = fields_of(registry.find("custom/auto", "llama_cpp").info, {}, BOUNDS)
    assert {"model_path", "infer_backend", "gpus_per_worker"} <= {field.key for field in local}
    cpus = next(field for field in local if field.key == "cpus_per_worker")
    assert (cpus.minimum, cpus.maximum) == (0, 4)


def test_a_setting_keeps_the_name_it_was_typed_with() -> None:
    info = registry.find("saas/openai").info
    values = {f"{PARAM}saas.api_base": "http://x/v1", f"{PARAM}saas.nonsense": "1"}
    keys = [field.key for field in fields_of(info, values, BOUNDS)]
    assert f"{PARAM}saas.api_base" in keys
    assert f"{PARAM}saas.base_url" not in keys
    assert keys.count(f"{PARAM}saas.nonsense") == 1


# ---- pasted commands


@pytest.mark.parametrize("name", DEPLOYS)
def test_every_command_of_the_guide_fills_the_form_and_comes_out_the_same(name: str) -> None:
    text = filled_in(COMMANDS[name])
    plain = parse(split(text))
    spec = presets.spec(plain) if isinstance(plain, EasyDeploySpec) else plain
    assert spec_of(values_of(from_text(text))) == spec


@pytest.mark.parametrize("name", ["S18", "S19"])
def test_what_a_guide_leaves_to_its_reader_is_shown_in_its_field(name: str) -> None:
    values = values_of(from_text(COMMANDS[name]))
    assert values["model_path"].startswith("<")
    form = desk(values)
    assert "still the placeholder" in form.check(form.values, ())["errors"]["model_path"]
    with pytest.raises(CommandError, match="placeholder"):
        spec_of(values)


@pytest.mark.parametrize(
    "text",
    [
        "%%byzer\nbyzerllm deploy --pretrained_model_type saas/openai \\\n --infer_params saas.model=m \\\n --model a",
        "!byzerllm deploy --pretrained_model_type saas/openai --infer_params saas.model=m --model a\n",
        "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.model=m --model a",
        "```\nbyzerllm deploy --pretrained_model_type saas/openai --infer_params saas.model=m --model a\n```",
    ],
)
def test_it_is_pasted_from_wherever_it_stands(text: str) -> None:
    assert from_text(text) == DeploySpec(
        model="a", pretrained_model_type="saas/openai", infer_params={"saas.model": "m"}
    )


def test_a_command_without_an_alias_leaves_that_field_empty() -> None:
    assert values_of(from_text("deploy --pretrained_model_type saas/openai")) == {
        "model": "", "pretrained_model_type": "saas/openai",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "There is no command in it."),
        ("byzerllm stat --model a", "deploys nothing"),
        ("deploy --help", "asks for help"),
        ("deploy --modle a", "Unknown option --modle."),
        ("hello", "not a command"),
    ],
)
def test_what_is_no_deployment_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        from_text(text)


def test_a_yaml_file_fills_the_form(tmp_path: Path) -> None:
    assert parse(split("form --file deploy.yml")) == FormSpec(file="deploy.yml")
    file = tmp_path / "deploy.yml"
    file.write_text("pretrained_model_type: saas/openai\nnum_workers: 2\nsaas.model: gpt-4o\n")
    assert values_of(form_values.from_file(str(file))) == {
        "model": "", "pretrained_model_type": "saas/openai", "num_workers": "2", f"{PARAM}saas.model": "gpt-4o",
    }  # fmt: skip


# ---- secrets


@given(st.sampled_from(["saas/openai", "saas/claude", "saas/aws_bedrock", "saas/azure_openai"]))
def test_no_line_has_a_secret(kind: str) -> None:
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


def test_a_line_names_the_variable_of_whom_the_key_is_for() -> None:
    info = registry.find("saas/openai").info
    base = {"model": "a", "pretrained_model_type": "saas/openai", f"{PARAM}saas.model": "m"}
    assert "saas.api_key=${OPENAI_API_KEY}" in line_of(base, [API_KEY], info)
    deepseek = base | {f"{PARAM}saas.base_url": "https://api.deepseek.com/v1"}
    assert "saas.api_key=${DEEPSEEK_API_KEY}" in line_of(deepseek, [API_KEY], info)
    own = base | {f"{PARAM}saas.base_url": "http://10.0.0.1/v1"}
    assert "saas.api_key=${A_API_KEY}" in line_of(own, [API_KEY], info), "OpenAI's key must not go there"


def test_a_reference_stays_as_it_is() -> None:
    info = registry.find("saas/openai").info
    for text in ("${MY KEY}", "env:NAME", "keyring:byzer-magic/OPENAI_API_KEY"):
        assert text in line_of({"model": "a", API_KEY: text}, (), info)


# ---- checks


def test_each_field_says_what_is_wrong_with_it() -> None:
    values = {
        "model": "a", "pretrained_model_type": "saas/openai", "num_workers": "0", "cpus_per_worker": "two",
        f"{PARAM}saas.model": "m", f"{PARAM}saas.modle": "m", f"{PARAM}saas.timeout": "soon",
        f"{PARAM}saas.user": "${NOBODY}", f"{PARAM}saas.extra_body": "{", f"{PARAM}saas.base_url": "<url>",
    }  # fmt: skip
    found = form_checks.check(values, [], registry.find("saas/openai").info, {}, {})
    assert {name.removeprefix(PARAM): text.split(".")[0] for name, text in found.errors.items()}.keys() == {
        "num_workers", "cpus_per_worker", "saas.modle", "saas.timeout", "saas.user", "saas.extra_body", "saas.base_url",
    }  # fmt: skip
    assert all("\n" not in text for text in found.errors.values())
    assert "Did you mean saas.model?" in found.errors[f"{PARAM}saas.modle"]
    assert found.missing == {}


def test_what_is_missing_is_told_apart_from_what_is_wrong() -> None:
    info = registry.find("saas/claude").info
    found = form_checks.check({"pretrained_model_type": "saas/claude"}, [], info, {}, {})
    assert set(found.missing) == {"model", API_KEY, f"{PARAM}saas.model"}
    assert not found.errors
    given = form_checks.check({"model": "a", f"{PARAM}saas.model": "m"}, [API_KEY], info, {}, {})
    assert given.ok
    environ = form_checks.check({"model": "a", f"{PARAM}saas.model": "m"}, [], info, {}, {"ANTHROPIC_API_KEY": "k"})
    assert environ.ok


def test_an_error_of_the_whole_goes_to_its_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    azure = desk(values_of(from_text(COMMANDS["S06"])))
    found = azure.check(azure.values, (API_KEY,))
    assert "a slash is missing" in found["errors"][f"{PARAM}saas.azure_endpoint"]
    openai = desk({"model": "a", "pretrained_model_type": "saas/openai", f"{PARAM}saas.model": "m"})
    assert "needs saas.api_key" in openai.check(openai.values, ())["missing"][API_KEY]
    local = desk({"model": "a", "infer_backend": "llama_cpp", "model_path": "/nowhere/x.gguf"})
    assert "No file at /nowhere/x.gguf" in local.check(local.values, ())["errors"]["model_path"]
    nobody = desk({"model": "a", "pretrained_model_type": "saas/opnai"})
    assert "Did you mean" in nobody.check(nobody.values, ())["errors"][""]


# ---- choices


def test_the_chooser_has_presets_providers_and_engines() -> None:
    rows = form_choices.choices()
    assert len({row.id for row in rows}) == len(rows) > 60
    assert {row.group for row in rows} == {"preset", "provider", "engine"}
    for row in rows:
        values = form_choices.chosen(row.id, {}, (), ())
        spec_of(values | {"model": values.get("model") or "x"})
        assert not any(name.endswith("api_key") for name in values), "no key where there is no variable"


def test_a_choice_takes_the_key_that_is_there_and_keeps_what_was_filled_in() -> None:
    values = form_choices.chosen(
        "preset:deepseek-chat", {"model": "mine", API_KEY: "${OTHER}"}, (), ["DEEPSEEK_API_KEY"]
    )
    assert values["model"] == "mine"
    assert values[API_KEY] == "${DEEPSEEK_API_KEY}"


def test_a_model_on_disk_brings_its_engine_and_an_alias() -> None:
    path = Path("/models/SmolLM2-135M.Q4_1.gguf")
    found = [Found(path=path, engine="llama_cpp"), Found(path=Path("/m/w"), engine="custom/whisper")]
    values = form_choices.chosen(f"path:{path}", {}, found, ())
    assert values == {"model": "smollm2_135m_q4_1", "model_path": str(path), "infer_backend": "llama_cpp"}
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
def test_a_word_behind_form_names_a_choice(word: str, choice: str) -> None:
    assert form_choices.find(word) == choice


def test_an_unknown_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownKind) as caught:
        form_choices.find("deepseek-chta")
    assert "deepseek-chat" in caught.value.hint


@pytest.mark.parametrize("name", [name for name in DEPLOYS if "<" not in COMMANDS[name]])
def test_a_pasted_command_names_its_choice(name: str) -> None:
    choice = form_choices.id_of(from_text(COMMANDS[name]))
    assert choice.startswith("path:") or choice in {row.id for row in form_choices.choices()}


# ---- the desk


def test_the_desk_hands_pasted_keys_to_the_page_once() -> None:
    form = desk({})
    form.paste(f"deploy --pretrained_model_type saas/openai --infer_params saas.model=m saas.api_key={KEY} --model a")
    first = form.form()
    assert first["secrets"] == {API_KEY: KEY}
    assert KEY not in str(first["values"]) + form.line
    assert form.form()["secrets"] == {}
    assert form.references == ("${OPENAI_API_KEY}",)


def test_the_desk_plans_with_typed_keys_and_keeps_none() -> None:
    form = desk({})
    values = {"model": "a", "pretrained_model_type": "saas/openai", f"{PARAM}saas.model": "m"}
    plan = form.plan(values, {API_KEY: KEY})
    assert plan is not None
    assert plan.setup.params["saas.api_key"].reveal() == KEY
    assert "saas.api_key" not in plan.spec.infer_params
    assert KEY not in str(vars(form))
    assert form.plan({"model": "a"}, {}) is None


def test_fields_are_sent_again_only_when_they_change() -> None:
    form = desk({"model": "a", "pretrained_model_type": "saas/openai"})
    opening = form.opening()
    assert json.loads(json.dumps(opening))["fields"]
    assert "fields" not in form.check(form.values, ())
    other = form.check({"model": "a", "pretrained_model_type": "saas/claude"}, ())
    assert any(field["code"] == "saas.thinking" for field in other["fields"])


def test_more_than_there_is_is_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    form = desk({"model": "a", "infer_backend": "llama_cpp"})
    notes = form.check({"model": "a", "infer_backend": "llama_cpp", "num_workers": "3", "cpus_per_worker": "2"}, ())
    assert "needs 6 CPUs; 4 of 4" in notes["notes"]["cpus_per_worker"]


def test_a_file_chooses_its_engine(gguf: Path) -> None:
    form = desk({"model": "a", "model_path": str(gguf)})
    codes = {field["code"] for field in form.opening()["fields"]}
    assert "n_ctx" in codes
    assert form.check(form.values, ())["errors"] == {}


def test_variables_of_providers_are_offered() -> None:
    form = desk({}, {"MY_TOKEN": "x", "prompt": "y"})
    keys = form.form()["keys"]
    assert keys[0] == "MY_TOKEN"
    assert "prompt" not in keys


# ---- what stays


def test_what_is_saved_reads_without_the_form() -> None:
    for lang in LANGUAGES:
        with using(lang):
            data = saved.output("%byzer deploy --model '<a>'", ["${K}"], "a is ready")
            text = saved.terminal("%byzer deploy")
        assert "&lt;a&gt;" in data["text/html"]
        assert data["text/plain"].startswith("%byzer deploy --model '<a>'")
        assert "${K}" in data["text/plain"]
        assert "--num_workers" in text


def test_form_script_finds_all_its_texts() -> None:
    used = set(re.findall(r"words\.(\w+)\b(?!\()", bundle("form/screen.js")))
    assert len(used) > 30
    assert used <= script_texts().keys()
    with pytest.raises(ByzerError):
        form_choices.find("no-such-thing")

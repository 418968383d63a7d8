"""The state of a deploy form."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from byzer_magic.actions.output import Output
from byzer_magic.client.manager import Manager
from byzer_magic.errors import CommandError, NotFetched
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.form.controller import Controller
from byzer_magic.widgets.form.jobs import Jobs
from byzer_magic.widgets.form.values import PARAM, from_text, spec_of, values_of
from tests.unit.commands.test_seed import COMMANDS

KEY = "sk-planted-5f0c9d1e7a"


API_KEY = f"{PARAM}saas.api_key"


def desk(values: Mapping[str, str], variables: Mapping[str, Any] | None = None, choice: str = "") -> Controller:
    context = Context(
        manager=Manager(), output=cast("Output", None), shell=None, variables=lambda: variables or {},
        has_kernel=True,
    )  # fmt: skip
    return Controller(context, values, choice)


@pytest.mark.parametrize("name", ["S18", "S19"])
def test_controller_check_reports_placeholders(name: str) -> None:
    values = values_of(from_text(COMMANDS[name]))
    assert values["model_path"].startswith("<")
    form = desk(values)
    assert "still the placeholder" in form.check(form.values, ())["errors"]["model_path"]
    with pytest.raises(CommandError, match="placeholder"):
        spec_of(values)


def test_controller_check_assigns_errors_of_the_deployment_to_fields(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    azure = desk(values_of(from_text(COMMANDS["S06"])))
    found = azure.check(azure.values, (API_KEY,))
    assert "a slash is missing" in found["errors"][f"{PARAM}saas.azure_endpoint"]
    openai = desk({"model": "a", "pretrained_model_type": "saas/openai", f"{PARAM}saas.model": "m"})
    assert "needs saas.api_key" in openai.check(openai.values, ())["missing"][API_KEY]
    local = desk({"model": "a", "infer_backend": "llama_cpp", "model_path": "/nowhere/x.gguf"})
    assert "/nowhere/x.gguf does not exist" in local.check(local.values, ())["errors"]["model_path"]
    unknown = desk({"model": "a", "pretrained_model_type": "saas/opnai"})
    assert "Did you mean" in unknown.check(unknown.values, ())["errors"][""]


def test_controller_sends_pasted_keys_once() -> None:
    form = desk({})
    form.paste(f"deploy --pretrained_model_type saas/openai --infer_params saas.model=m saas.api_key={KEY} --model a")
    first = form.form()
    assert first["secrets"] == {API_KEY: KEY}
    assert KEY not in str(first["values"]) + form.line
    assert form.form()["secrets"] == {}
    assert form.references == ("${OPENAI_API_KEY}",)


def test_controller_plan_takes_typed_keys_and_stores_none() -> None:
    form = desk({})
    values = {"model": "a", "pretrained_model_type": "saas/openai", f"{PARAM}saas.model": "m"}
    plan = form.plan(values, {API_KEY: KEY})
    assert plan is not None
    assert plan.setup.params["saas.api_key"].reveal() == KEY
    assert "saas.api_key" not in plan.spec.infer_params
    assert KEY not in str(vars(form))
    assert form.plan({"model": "a"}, {}) is None


def test_controller_sends_fields_only_when_they_change() -> None:
    form = desk({"model": "a", "pretrained_model_type": "saas/openai"})
    opening = form.opening()
    assert json.loads(json.dumps(opening))["fields"]
    assert "fields" not in form.check(form.values, ())
    other = form.check({"model": "a", "pretrained_model_type": "saas/claude"}, ())
    assert any(field["code"] == "saas.thinking" for field in other["fields"])


def test_controller_notes_more_cpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    form = desk({"model": "a", "infer_backend": "llama_cpp"})
    notes = form.check({"model": "a", "infer_backend": "llama_cpp", "num_workers": "3", "cpus_per_worker": "2"}, ())
    assert "CPUs: 6 requested, 4 of 4" in notes["notes"]["cpus_per_worker"]


def test_controller_has_the_settings_of_a_files_engine(gguf: Path) -> None:
    form = desk({"model": "a", "model_path": str(gguf)})
    codes = {field["code"] for field in form.opening()["fields"]}
    assert "n_ctx" in codes
    assert form.check(form.values, ())["errors"] == {}


def test_controller_offers_variables_with_keys() -> None:
    form = desk({}, {"MY_TOKEN": "x", "prompt": "y"})
    keys = form.form()["keys"]
    assert keys[0] == "MY_TOKEN"
    assert "prompt" not in keys


TINY = "hf:byzer/tiny-GGUF"


async def test_model_in_a_hub_is_valid_and_downloaded_before_it_is_deployed(hub_environ: dict[str, str]) -> None:
    form = desk({"model": "a", "model_path": TINY, "infer_backend": "llama_cpp"})
    found = form.check(form.values, ())
    assert not found["errors"]
    assert found["notes"]["model_path"] == "It is not on this machine yet: deploying downloads it first."
    with pytest.raises(NotFetched):
        form.plan(form.values, {})
    told: list[Mapping[str, Any]] = []
    jobs = Jobs(Manager(), told.append)
    await jobs.preview(TINY, form.spec)
    assert told[-1]["state"] == "done"
    assert "1 file, 286 kB; 286 kB to download into" in told[-1]["stage"]
    assert await jobs.fetch(TINY, form.spec)
    assert [status["state"] for status in told[2:]] == ["running"] * len(told[2:])
    assert any(status.get("fraction") == 1 for status in told)
    plan = form.plan(form.values, {})
    assert plan
    assert Path(str(plan.setup.model_path)).is_file()
    assert "model_path" not in form.check(form.values, ())["notes"]


async def test_model_in_a_hub_that_cannot_be_downloaded_is_an_error_of_the_form(hub_environ: dict[str, str]) -> None:
    told: list[Mapping[str, Any]] = []
    jobs = Jobs(Manager(), told.append)
    assert not await jobs.fetch("hf:byzer/nothing", desk({"model": "a"}).spec)
    assert told[-1]["state"] == "failed"
    assert "has no repository byzer/nothing" in told[-1]["stage"]
    assert "If it is private, set HF_TOKEN." in told[-1]["hint"]
    wrong = desk({"model": "a", "model_path": "hf:a/b/c"})
    assert "is not a valid name of a model in a hub" in wrong.check(wrong.values, ())["errors"]["model_path"]

"""An engine of another package, installed with pip as its users would: found by every command that knows engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from byzer_magic import errors, plugins
from byzer_magic.actions import doctor, model_search
from byzer_magic.backends import registry
from byzer_magic.cli import main
from byzer_magic.commands import parser
from byzer_magic.commands.help import help_text
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.local_models import hardware
from byzer_magic.plan import resolve
from byzer_magic.widgets.form import choices
from byzer_magic.widgets.form.fields import Bounds, fields_of
from tests.packages import install


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package acme-engine."""
    return install("acme_engine", tmp_path_factory.mktemp("acme"))


@pytest.fixture
def acme(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the acme format, with the engine on the path of this process."""
    monkeypatch.syspath_prepend(str(site))
    model = tmp_path / "tiny.acme"
    model.write_text('{"greeting": "Hello"}')
    return model


def test_engines_lists_those_of_other_packages_last(acme: Path) -> None:
    assert acme.exists()
    assert plugins.engines() == (*plugins.builtin_engines(), "acme")
    assert list(plugins.EngineChoices())[:1] == ["auto"]
    assert "acme" in plugins.EngineChoices()
    assert registry.find("custom/auto", "acme").info.title == "Acme"
    assert "engine/acme" not in registry.kinds()
    with pytest.raises(errors.UnknownKind):
        registry.find("engine/acme")


def test_packages_are_searched_again_only_after_one_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: searches.append(group) or [])
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        assert list(plugins.EngineChoices()) == ["auto", *plugins.builtin_engines()]
    assert len(searches) == 1
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "late" not in plugins.engines()
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[byzer_magic.backends]\nengine/late = late:BACKEND\n")
    assert "late" in plugins.engines()


def test_engines_without_the_package_do_not_include_it() -> None:
    assert "acme" not in plugins.EngineChoices()
    with pytest.raises(errors.CommandError, match=r"is 'acme', which is not one of auto, deepspeed"):
        DeploySpec(model="m", infer_backend="acme")


def test_plan_chooses_the_engine_by_its_format(acme: Path) -> None:
    plan = resolve(DeploySpec(model="m", model_path=str(acme)), {}, {})
    assert (plan.engine, plan.spec.pretrained_model_type) == ("acme", "custom/auto")
    assert plan.why == "tiny.acme is an Acme model"
    assert plan.setup.params == {"acme_context": 64}
    in_folder = resolve(DeploySpec(model="m", model_path=str(acme.parent), infer_backend="acme"), {}, {})
    assert in_folder.backend.info.title == "Acme"


def test_plan_refuses_another_engine_for_the_format(acme: Path) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        resolve(DeploySpec(model="m", model_path=str(acme), infer_backend="vllm"), {}, {})
    assert caught.value.message == f"{acme} is an Acme model, which vllm cannot load."
    assert caught.value.hint == "Leave --infer_backend out, or use another engine: acme."


def test_engine_whose_import_fails_is_left_out(acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[byzer_magic.backends]\nengine/broken = no_such_module:BACKEND\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "broken" in plugins.engines()
    assert "broken" not in registry.local()
    assert "acme" in registry.local()


def test_deploy_dry_run_accepts_the_engine(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["deploy", "--model", "m", "--model_path", str(acme), "--infer_backend", "acme", "--dry_run"]
    assert main(words) == 0
    assert "--infer_backend acme" in capsys.readouterr().out


def test_doctor_and_models_show_the_engine(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [item for item in doctor.engines(hardware.detect()) if item["engine"] == "acme"]
    assert row == {"engine": "acme", "installed": {"acme-engine": "1.2.0"}, "can": ["chat"], "runs_on": ["CPU"],
                   "install": ""}  # fmt: skip
    assert main(["doctor", "--model_path", str(acme), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["model"]
    assert (facts["engine"], facts["fits"]) == ("acme", True)
    assert facts["memory"]["total"] == 50 * 10**6 + acme.stat().st_size
    (found,) = model_search.find(str(acme.parent))
    assert (found.path.name, found.engine, found.installed) == ("tiny.acme", "acme", True)


def test_help_completion_and_form_show_the_engine(acme: Path) -> None:
    assert acme.exists()
    assert "transformers, vllm, acme" in help_text("deploy")
    assert parser.complete("deploy --infer_backend ac") == ["acme"]
    assert choices.find("acme") == "acme"
    (field,) = [field for field in fields_of(None, {}, Bounds(cpus=1, gpus=0)) if field.key == "infer_backend"]
    assert field.choices[-1] == "acme"

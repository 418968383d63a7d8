"""Reports on machine, engines and models, as data and as tables."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors, plugins
from byzer_magic.actions import doctor
from byzer_magic.backends import registry
from byzer_magic.cli import main
from byzer_magic.local_models import installed, memory
from byzer_magic.local_models.hardware import Gpu, Hardware
from byzer_magic.rendering import tables
from tests.budgets import children_within
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.waiting import PATIENCE

GB = 10**9
LAPTOP = Hardware(cpus=8, memory_total=32 * GB, memory_free=20 * GB, instructions=frozenset({"avx2"}))
L4 = Gpu(name="NVIDIA L4", memory_total=24 * GB, memory_free=22 * GB)
GPU = Hardware(cpus=8, memory_total=32 * GB, memory_free=20 * GB, gpus=(L4, Gpu(name="AMD GPU")))


def no_ray() -> None:
    return None


def column(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return a table of names and texts as one text for each name."""
    found: dict[str, str] = {}
    last = ""
    for row in rows:
        name, text = row.values()
        last = name or last
        found[last] = f"{found[last]} {text}" if last in found else text
    return found


def test_machine_has_a_row_for_each_fact() -> None:
    facts = doctor.machine(LAPTOP, lambda: {"CPU": (3.5, 4.0), "GPU": (0.0, 0.0)})
    ((rows), _) = doctor.tables({"machine": facts, "engines": []})
    shown = column(rows)
    assert shown["CPUs"] == "8, load 0.0 (x86_64, AVX2)"
    assert shown["memory"] == "20 GB of 32 GB free"
    assert shown["GPUs"] == "none"
    assert shown["Ray"].endswith(" (3.5 of 4 CPUs free)")
    assert "free at" in shown["disk"]
    gpus = column(doctor.tables({"machine": doctor.machine(GPU, no_ray), "engines": []})[0])
    assert gpus["GPUs"] == "NVIDIA L4 (22 GB of 24 GB free); AMD GPU"
    assert gpus["Ray"].endswith(" (not running here)")


def test_machine_reports_a_ray_that_does_not_respond() -> None:
    def stuck() -> None:
        raise errors.CannotConnect("Ray at 127.0.0.1:6379 did not answer within 15 s.")

    facts = doctor.machine(LAPTOP, stuck)
    assert facts["ray"]["running"] is False
    assert "did not answer" in column(doctor.tables({"machine": facts, "engines": []})[0])["Ray"]


def test_engines_have_a_row_each() -> None:
    found = {row["engine"]: row for row in doctor.engines(LAPTOP)}
    assert set(found) == {*plugins.builtin_engines(), *registry.families()}
    for row in found.values():
        assert row["can"]
        assert bool(row["install"]) != bool(row["installed"]) or row["install"].startswith("pip install ")
        assert not row["runs_on"] or not row["install"]
    assert found["llama_cpp"]["runs_on"] == ["CPU"]
    assert found["llama_cpp"]["installed"]


def test_engines_that_are_missing_have_an_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    for row in doctor.engines(LAPTOP):
        assert row["install"].startswith("pip install 'byzer-magic[")
        assert (row["installed"], row["runs_on"]) == ({}, [])


def test_model_has_a_row_for_each_fact(gguf: Path) -> None:
    facts = doctor.model(str(gguf), LAPTOP)
    assert facts["memory"]["total"] == sum(facts["memory"][name] for name in ("weights", "cache", "overhead"))
    shown = column(doctor.tables({"model": facts})[0])
    assert shown["format"] == "gguf, llama"
    assert shown["parameters"] == "135 M (Q4_1)"
    assert shown["context"] == "8,192 tokens"
    assert shown["engine"] == f"llama_cpp, because {gguf.name} is a GGUF model of the llama family"
    assert shown["KV cache"] == "94 MB for a context of 4,096 tokens"
    assert shown["fits"] == "yes: 20 GB is free"


def test_model_that_does_not_fit_has_advice(gguf: Path) -> None:
    total = doctor.model(str(gguf), LAPTOP)["memory"]["total"]
    short = Hardware(cpus=1, memory_total=GB, memory_free=total - 40_000_000)
    facts = doctor.model(str(gguf), short)
    assert facts["fits"] is False
    (setting,) = [advice for advice in facts["to_fit"] if "n_ctx" in advice]
    tokens = int(setting.partition("n_ctx=")[2])
    assert (
        memory.estimate(doctor.files.inspect(str(gguf)), registry.engines()["llama_cpp"], short, tokens).total
        <= short.memory_free
    )
    shown = column(doctor.tables({"model": facts})[0])
    assert shown["fits"].startswith("no: ")
    assert setting in shown["would fit"]
    nothing = doctor.model(str(gguf), Hardware(cpus=1, memory_total=GB, memory_free=100_000_000))
    assert any("smaller model" in advice for advice in nothing["to_fit"])


def test_model_in_an_engine_that_takes_its_part_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = dict(registry.engines())
    engines["vllm"] = dataclasses.replace(
        engines["vllm"], packages=(installed.Package(name="vllm", version="0.32.0", devices=("GPU",)),)
    )
    monkeypatch.setattr(registry, "engines", lambda: engines)
    here = dataclasses.replace(GPU, gpus=(L4,))
    facts = doctor.model(str(tiny_qwen2()), here)
    assert facts["memory"]["takes"] == int(0.9 * 24 * GB)
    shown = column(doctor.tables({"model": facts})[0])
    assert shown["takes"].startswith("22 GB: the engine takes 90 % of a GPU, whatever the model needs; the KV cache")
    assert shown["fits"] == "yes: 22 GB is free"
    busy = dataclasses.replace(here, gpus=(dataclasses.replace(L4, memory_free=12 * GB),))
    facts = doctor.model(str(tiny_qwen2()), busy)
    assert (facts["fits"], facts["to_fit"]) == (False, ["--infer_params backend.gpu_memory_utilization=0.49"])
    assert column(doctor.tables({"model": facts})[0])["fits"] == "no: 12 GB is free"

    def worker(gpus: float, engine: str = "vllm", **params: object) -> dict[str, Any]:
        given = {f"backend.{name}": value for name, value in params.items()}
        return doctor.model(str(tiny_qwen2()), here, doctor.Worker(engine=engine, gpus=gpus, params=given))

    assert worker(0.5)["memory"]["takes"] == int(0.45 * 24 * GB)
    assert worker(1, gpu_memory_utilization=0.2)["memory"]["takes"] == int(0.2 * 24 * GB)
    assert worker(0, engine="transformers")["memory"]["on"] == "CPU", "none is reserved"
    assert worker(1, max_model_len=512)["memory"]["cache_tokens"] == 512


def test_model_that_no_engine_runs_has_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["ViTForImageClassification"]}')
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(8))
    shown = column(doctor.tables({"model": doctor.model(str(tmp_path), LAPTOP)})[0])
    assert shown["engine"].startswith("none: ")
    assert "image classification" in shown["engine"]
    with pytest.raises(errors.BadParameter, match="does not exist"):
        doctor.model(str(tmp_path / "no"), LAPTOP)


def test_tables_fit_into_120_columns(gguf: Path) -> None:
    for report in (doctor.report(None, no_ray), doctor.report(str(gguf), no_ray)):
        for rows in doctor.tables(report):
            assert max(map(len, tables.to_text(rows, "").splitlines())) <= 120


# ---- in a shell


def test_doctor_and_models_print_tables_and_json(
    capsys: pytest.CaptureFixture[str], gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert main(["doctor"]) == 0
    assert "llama_cpp" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"machine", "engines"}
    assert main(["doctor", "--model_path", str(gguf), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["engine"] == "llama_cpp"
    assert main(["doctor", "--model_path", str(tmp_path / "no")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main(["models", "--model_path", str(gguf.parent)]) == 0
    assert "llama_cpp" in capsys.readouterr().out
    assert main(["models", "--model_path", str(gguf.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["architecture"] == "llama"
    assert main(["models", "--model_path", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["models", "--model_path", str(tmp_path)]) == 0
    assert "No models" in capsys.readouterr().err


def test_dry_run_shows_the_engine_that_auto_chose(capsys: pytest.CaptureFixture[str], gguf: Path) -> None:
    assert main(["deploy", "--model", "m", "--model_path", str(gguf), "--dry_run"]) == 0
    shown = capsys.readouterr()
    assert "--infer_backend llama_cpp" in shown.out
    assert f"m: llama_cpp, because {gguf.name} is a GGUF model" in shown.err
    assert main(["deploy", "--model", "m", "--model_path", str(gguf), "--gpus_per_worker", "1", "--dry_run"]) == 0
    assert "was built for CPUs: the model will not use the GPUs" in capsys.readouterr().err
    wrong = ["--infer_params", "n_gpu_layers=20", "--dry_run"]
    assert main(["deploy", "--model", "m", "--model_path", str(gguf), *wrong]) == 1
    assert "n_gpu_layers is 20, but no GPU is reserved" in capsys.readouterr().err


def test_doctor_is_quick_and_imports_nothing_heavy(gguf: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from byzer_magic.cli import main; main(['doctor', *sys.argv[1:]]);"
        "heavy = {'torch', 'transformers', 'vllm', 'llama_cpp', 'xllamacpp', 'funasr', 'av', 'ray', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for words in ([], ["--model_path", str(gguf)]):
        with children_within(5):  # it is 0.6 s
            done = subprocess.run(
                [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=PATIENCE,
                env={"PATH": "", "HOME": str(tmp_path), "RAY_TMPDIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
        assert done.stderr.strip() == "[]"

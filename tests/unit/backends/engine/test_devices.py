"""GPUs of a worker: hidden where none is reserved, and only those that are reserved can be named."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from byzer_magic import errors, plan
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info, Setup
from byzer_magic.backends.engine import devices
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.local_models import hardware
from byzer_magic.local_models.engine_facts import CPU, GPU, EngineFacts, EnginePackage, MemoryFacts

H200 = "0, GPU-1111, NVIDIA H200, 143771, 143000"


def setup(gpus: float, **params: object) -> Setup:
    return Setup(model="m", params=params, gpus=gpus)


def test_hide_leaves_no_gpu_without_a_reservation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{H200}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    environ: dict[str, str] = {}
    devices.hide(setup(0.5), environ)
    assert environ == {}, "Ray has made the reserved ones visible"
    assert [gpu.name for gpu in hardware.gpus(environ=environ)] == ["NVIDIA H200"]
    assert hardware.gpu_memory_used(environ=environ) == 771 * hardware.MIB
    environ["CUDA_VISIBLE_DEVICES"] = "0"  # a user's own, which Ray leaves as it is
    devices.hide(setup(0), environ)
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert hardware.gpus(environ=environ) == ()
    assert hardware.gpu_memory_used(environ=environ) is None


def test_hidden_gpus_are_hidden_from_torch_and_its_children() -> None:
    code = (
        "import os, subprocess, sys; from byzer_magic.backends.base import Setup;"
        "from byzer_magic.backends.engine import devices; devices.hide(Setup(model='m'));"
        "assert 'torch' not in sys.modules;"
        "import torch; print(torch.cuda._parse_visible_devices());"
        "torch.version.hip = '7'; print(torch.cuda._parse_visible_devices(), flush=True);"
        "subprocess.run(['sh', '-c', 'echo \"<$CUDA_VISIBLE_DEVICES>\"'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["[]", "[]", "<>"]


INFO = Info(
    kind="custom/acme",
    title="Acme",
    params=(),
    engine=EngineFacts(
        packages=(EnginePackage(module="psutil"),),
        formats=("acme",),
        memory=MemoryFacts(overhead_bytes=0),
        gpu_params=("n_gpu_layers",),
    ),
)
"""An engine of another package."""


@pytest.mark.parametrize(
    ("gpus", "params", "hint"),
    [
        (0, {"device": "cuda"}, "--gpus_per_worker 1"),
        (0, {"device": "cuda:1"}, "--gpus_per_worker 2"),
        (0, {"device": "mps"}, "--gpus_per_worker 1"),
        (0, {"vad_kwargs.device": "cuda:0"}, "--gpus_per_worker 1"),
        (0, {"device_map": '{"model.embed_tokens": 0, "model.layers": 1}'}, "--gpus_per_worker 2"),
        (0, {"device_map": "cuda"}, "--gpus_per_worker 1"),
        (0, {"max_memory": {"0": 20_000_000_000, "cpu": "30GiB"}}, "--gpus_per_worker 1"),
        (0, {"n_gpu_layers": -1}, "--gpus_per_worker 1"),
        (1, {"device": "cuda:1"}, "--gpus_per_worker 2"),
        (0.5, {"backend.device": "cuda:1"}, "--gpus_per_worker 2"),
    ],
)
def test_check_refuses_gpus_that_are_not_reserved(gpus: float, params: dict[str, object], hint: str) -> None:
    with pytest.raises(errors.BadParameter, match="reserved") as caught:
        devices.check(INFO, setup(gpus, **params))
    assert next(iter(params)) in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("gpus", "params"),
    [
        (0, {"device": "cpu", "n_gpu_layers": 0, "device_map": "auto", "main_gpu": 1}),
        (0, {"device": "auto"}),
        (0, {"device": "no-such-device"}),  # the engine names what it knows
        (0.5, {"device": "cuda"}),
        (1, {"device": "cuda:0", "n_gpu_layers": 20}),
        (2, {"device": "cuda:1", "max_memory": {"0": "20GiB", "1": "20GiB"}}),
    ],
)
def test_check_takes_gpus_that_are_reserved(gpus: float, params: dict[str, object]) -> None:
    devices.check(INFO, setup(gpus, **params))


def of(devices: tuple[str, ...]) -> Info:
    assert INFO.engine
    package = EnginePackage(module="psutil", devices=lambda _: devices)
    return dataclasses.replace(INFO, engine=dataclasses.replace(INFO.engine, packages=(package,)))


def test_build_for_gpus_needs_one_and_a_build_for_cpus_reports_that_it_uses_none() -> None:
    with pytest.raises(errors.BadParameter, match=r"psutil .* was built for GPUs, but none is reserved") as caught:
        devices.check(of((GPU,)), setup(0))
    assert "--gpus_per_worker 1" in caught.value.hint
    devices.check(of((GPU,)), setup(0.5))
    for gpus, build, count in ((1, (CPU,), 1), (1, (CPU, GPU), 0), (1, (GPU,), 0), (0, (CPU,), 0)):
        assert len(devices.notes(of(build), setup(gpus))) == count


@pytest.mark.parametrize("kind", ["custom/bge", "custom/whisper", "custom/sensevoice", "custom/piper"])
def test_every_family_declares_its_device_where_the_check_finds_it(kind: str) -> None:
    assert "device" in {param.name for param in registry.find(kind).info.params}


def test_plan_refuses_a_device_without_reservation(gguf: Path) -> None:
    given = {"model": "m", "infer_backend": "llama_cpp", "model_path": str(gguf)}
    with pytest.raises(errors.BadParameter, match="n_gpu_layers is -1, but no GPU is reserved"):
        plan.resolve(DeploySpec(**given, infer_params={"num_gpu_layers": "-1"}), {}, {})
    made = plan.resolve(DeploySpec(**given, gpus_per_worker=1), {}, {})
    assert any("built for CPUs" in note for note in made.notes), "the build of the tests is"

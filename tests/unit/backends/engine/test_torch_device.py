"""The device of a worker follows what is reserved for it: each engine, with a faked list of devices."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.base import Setup
from byzer_magic.backends.custom import piper
from byzer_magic.backends.custom.whisper import ctranslate2_model
from byzer_magic.backends.engine import sentence_models, torch_device
from byzer_magic.local_models.engine_facts import CPU, GPU
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.installed import Package


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """The kinds of GPUs that torch finds."""
    import torch

    found = {"cuda": True, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found["cuda"])
    monkeypatch.setattr(torch.mps, "is_available", lambda: found["mps"])
    return found


def test_device_of_a_worker_is_the_reserved_one(devices: dict[str, bool]) -> None:
    assert [torch_device.of_worker(None, gpus) for gpus in (0, 0.5, 1, 2)] == ["cpu", "cuda:0", "cuda:0", "cuda:0"]
    assert torch_device.of_worker("auto", 0) == "cpu"
    assert torch_device.of_worker("cpu", 1) == "cpu"
    devices |= {"cuda": False, "mps": True}
    assert [torch_device.of_worker(None, gpus) for gpus in (0, 1)] == ["cpu", "mps"], "mps cannot be hidden"
    devices["mps"] = False
    with pytest.raises(errors.EngineFailed, match="has 1 GPUs, but torch"):
        torch_device.of_worker(None, 1)


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize(
    ("gpus", "params", "wanted"),
    [
        (0, {}, "cpu"),
        (0.5, {}, "cuda:0"),
        (1, {}, "cuda:0"),
        (2, {}, "auto"),
        (2, {"device": "cpu"}, "cpu"),
        (0, {"device_map": "sequential"}, "sequential"),
    ],
)
def test_transformers_and_deepspeed_place_the_model_on_it(gpus: float, params: dict[str, Any], wanted: str) -> None:
    load = importlib.import_module("byzer_magic.backends.local.transformers.load")
    assert load.placement(Setup(model="m", params=params, gpus=gpus))["device_map"] == wanted


@pytest.mark.usefixtures("devices")
def test_embedding_models_are_placed_on_it() -> None:
    for gpus, device in ((0, "cpu"), (1, "cuda:0"), (2, "cuda:0")):
        params = {"trust_remote_code": False, "dtype": "float32"}
        setup = Setup(model="m", params=params, gpus=gpus)
        assert sentence_models.settings(setup, Weights(path=Path("/m"), format="bge"))["device"] == device


@pytest.mark.parametrize(
    ("gpus", "params", "device"),
    [(0, {}, "cpu"), (1, {}, "cuda"), (1, {"device": "cpu"}, "cpu"), (2, {"device": "cuda:1"}, "cuda:1")],
)
def test_ctranslate2_is_given_it(
    gpus: float, params: Mapping[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def record(_path: str, **arguments: Any) -> None:
        given.update(arguments)
        raise StopIteration

    monkeypatch.setattr(pytest.importorskip("faster_whisper"), "WhisperModel", record)
    with pytest.raises(StopIteration):
        ctranslate2_model.FasterWhisper(Path("/m"), {"dtype": "auto", **params}, gpus=gpus, threads=1, at_once=1)
    name, _colon, number = device.partition(":")
    assert (given["device"], given["device_index"]) == (name, int(number or 0))


@pytest.mark.parametrize(
    ("gpus", "build", "params", "device"),
    [
        (1, (CPU, GPU), {}, "cuda"),
        (0, (CPU, GPU), {}, "cpu"),
        (1, (CPU,), {}, "cpu"),
        (1, (CPU, GPU), {"device": "cpu"}, "cpu"),
    ],
)
def test_piper_uses_it_where_its_runtime_can(
    gpus: float, build: tuple[str, ...], params: dict[str, str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piper.installed, "find", lambda _: (Package(name="piper-tts", devices=build),))
    assert piper._device(Setup(model="m", params=params, gpus=gpus)) == device

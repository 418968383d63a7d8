"""What is checked of a vLLM deployment in the notebook, before anything starts and without importing vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.vllm import engine as vllm_engine, params as vllm_params
from tests.backends import setup_of
from tests.models.tiny_qwen2 import changed, tiny_qwen2

VLLM = registry.find("custom/auto", "vllm")


@pytest.mark.filterwarnings("ignore")  # of the dozens of packages that vLLM imports
def test_params_have_every_argument_of_the_engine() -> None:
    args = pytest.importorskip("vllm.engine.arg_utils").AsyncEngineArgs
    theirs = {name for name in args.__dataclass_fields__ if not name.startswith("_")} - vllm_params.OURS
    ours = {param.name.removeprefix("backend.") for param in vllm_params.params()}
    assert theirs <= ours


def test_guide_parameters_are_typed() -> None:
    given = {
        "backend.max_model_len": "28000",
        "backend.gpu_memory_utilization": "0.9",
        "backend.enforce_eager": "True",
        "trust_remote_code": "false",
        "backend.tensor_parallel_size": "2",
        "backend.dtype": "bfloat16",
    }
    params = setup_of(VLLM, given, model_path=str(tiny_qwen2())).params
    assert params == {
        "backend.max_model_len": 28000,
        "backend.gpu_memory_utilization": 0.9,
        "backend.enforce_eager": True,
        "backend.trust_remote_code": False,
        "backend.tensor_parallel_size": 2,
        "backend.dtype": "bfloat16",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backend.max_modle_len": "1"}, r"(?s)no parameter 'backend.max_modle_len'.*max_model_len"),
        ({"backend.max_model_len": "many"}, "not a whole number"),
        ({"backend.dtype": "flot32"}, r"(?s)dtype is 'flot32'.*Did you mean float32"),
        ({"backend.compilation_config": "{"}, "not valid JSON"),
    ],
)
def test_check_refuses_what_the_engine_does_not_support(given: dict[str, str], words: str) -> None:
    with pytest.raises(errors.BadParameter, match=words):
        setup_of(VLLM, given, model_path=str(tiny_qwen2()))


def test_several_gpus_share_the_model() -> None:
    setup = setup_of(VLLM, {}, model_path=str(tiny_qwen2()), gpus=2.0, concurrency=7)
    weights = vllm_engine.Weights(path=tiny_qwen2(), format="transformers")
    arguments = vllm_engine.arguments(setup, weights)
    assert (arguments["tensor_parallel_size"], arguments["max_num_seqs"]) == (2, 7)
    assert vllm_engine.arguments(setup_of(VLLM, {"backend.tensor_parallel_size": "4"}, model_path=str(tiny_qwen2()),
                                          gpus=2.0), weights)["tensor_parallel_size"] == 4  # fmt: skip


def test_check_refuses_a_folder_without_tokenizer(tmp_path: Path) -> None:
    for file in tiny_qwen2().iterdir():
        if not file.name.startswith(("tokenizer", "vocab", "merges", "special")):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(errors.BadParameter, match="has no tokenizer"):
        setup_of(VLLM, {}, model_path=str(tmp_path))


def test_check_refuses_damaged_weights(tmp_path: Path) -> None:
    folder = changed(tmp_path)
    complete = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(complete[:-100])
    with pytest.raises(errors.BadParameter, match="its header describes"):
        setup_of(VLLM, {}, model_path=str(folder))

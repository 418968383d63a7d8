"""Models on disk: folders as hubs and programs lay them out, links, and what is broken."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.actions import model_search
from byzer_magic.local_models import files
from tests.budgets import within

QWEN = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_position_embeddings": 32768}


def tensors(count: int = 6) -> bytes:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * count)


def folder(path: Path, config: Any = QWEN, weights: bytes | None = tensors()) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    if weights is not None:
        (path / "model.safetensors").write_bytes(weights)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and an empty working folder in it."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_CACHE", "LLAMA_CACHE", "BYZER_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def listed(folder: str | None = None) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in model_search.plain(model_search.find(folder))}


def hub(home: Path) -> Path:
    """Return a repository in Hugging Face's cache: files are links to blobs."""
    repository = home / ".cache/huggingface/hub/models--Qwen--Qwen2.5-0.5B"
    snapshot = repository / "snapshots" / "abc123"
    for name, data in {"config.json": json.dumps(QWEN).encode(), "model.safetensors": tensors()}.items():
        (repository / "blobs").mkdir(parents=True, exist_ok=True)
        snapshot.mkdir(parents=True, exist_ok=True)
        (repository / "blobs" / name[:4]).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{name[:4]}")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc123")
    return repository


def test_find_searches_the_usual_folders(home: Path, gguf: Path) -> None:
    hub(home)
    folder(home / ".cache/modelscope/hub/models/qwen/Qwen2___5-7B")
    folder(
        home / ".auto-coder/storage/models/AI-ModelScope/bge-large-zh",
        {"architectures": ["BertModel"]} | {"model_type": "bert"},
    )
    for place in (".cache/llama.cpp", ".lmstudio/models/org/repo", "models", "work", "work/models"):
        (home / place).mkdir(parents=True, exist_ok=True)
        name = place.replace("/", "-").strip(".")
        (home / place / f"{name}.gguf").write_bytes(gguf.read_bytes()[:3_000_000])
    found = listed()
    assert set(found) == {
        "Qwen/Qwen2.5-0.5B", "qwen/Qwen2.5-7B", "bge-large-zh", "cache-llama.cpp", "lmstudio-models-org-repo", "models",
        "work", "work-models",
    }  # fmt: skip
    assert found["Qwen/Qwen2.5-0.5B"]["parameters"] == 6
    assert found["Qwen/Qwen2.5-0.5B"]["engine"] in ("vllm", "transformers")
    assert found["bge-large-zh"]["engine"] == "custom/bge"
    assert found["models"]["engine"] == "llama_cpp"
    assert found["models"]["dtype"] == "Q4_1"


def test_find_takes_the_main_snapshot_of_a_hub_repository(home: Path) -> None:
    repository = hub(home)
    assert files.inspect(str(repository)).path == repository / "snapshots" / "abc123"
    (row,) = model_search.rows(model_search.find())
    assert row["path"] == "~/.cache/huggingface/hub/models--Qwen--Qwen2.5-0.5B"
    folder(repository / "snapshots" / "def456")
    assert files.inspect(str(repository)).path.name == "abc123"
    assert [row["path"][-6:] for row in model_search.rows(model_search.find())] == ["5-0.5B", "def456"]
    (repository / "refs/main").unlink()
    assert files.snapshot(repository) == repository


def test_model_folders_come_from_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "hf/hub/models--x--c/snapshots/1", "ms/models/x/d"):
        folder(home / "elsewhere" / name)
    monkeypatch.setenv("BYZER_MODELS", f"{home}/elsewhere/a:{home}/nowhere:~/elsewhere/b")
    monkeypatch.setenv("HF_HOME", f"{home}/elsewhere/hf")
    monkeypatch.setenv("MODELSCOPE_CACHE", f"{home}/elsewhere/ms")
    assert set(listed()) == {"a", "b", "x/c", "d"}


def test_find_searches_only_a_given_folder(home: Path) -> None:
    folder(home / "models" / "usual")
    folder(home / "work" / "here" / "deep" / "er")
    assert set(listed()) == {"usual"}
    assert set(listed(".")) == {"er"}
    assert set(listed(str(home / "models" / "usual"))) == {"usual"}
    with pytest.raises(errors.BadParameter, match="Did you mean"):
        listed(str(home / "model"))


def test_find_follows_links_once(home: Path) -> None:
    folder(home / "disk" / "one")
    models = home / "models"
    models.mkdir()
    (models / "linked").symlink_to(home / "disk" / "one")
    (models / "again").symlink_to(home / "disk")
    (models / "loop").symlink_to(models)
    (models / "self").symlink_to("self")
    (models / "gone.gguf").symlink_to("nowhere")
    found = listed()
    assert set(found) <= {"linked", "one", "gone"}
    assert len(found) == 2
    assert found["gone"]["error"]


def test_find_lists_broken_models_with_their_error(home: Path) -> None:
    models = home / "models"
    folder(models / "partial", weights=None)
    folder(models / "cut", weights=tensors()[:-3])
    folder(models / "pointer", weights=b"version https://git-lfs")
    folder(models / "nonsense", {"architectures": 7})
    folder(models / "vit", {"architectures": ["ViTForImageClassification"], "model_type": "vit"})
    (models / "lora").mkdir()
    (models / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen3-8B"}')
    (models / "flux").mkdir()
    (models / "flux" / "model_index.json").write_text("{}")
    (models / "half.gguf").write_bytes(b"GGUF\x03")
    found = listed()
    expected = {
        "partial": "contains no weights", "cut": "its header describes", "pointer": "Git LFS pointer",
        "nonsense": "configuration", "vit": "image classification", "lora": "adapter", "flux": "image generation model",
        "half": "ends in the header",
    }  # fmt: skip
    assert set(found) == set(expected)
    for name, text in expected.items():
        assert text in found[name]["error"], name
        assert str(models) not in found[name]["error"]
        assert found[name]["engine"] is None
    rows = model_search.rows(model_search.find())
    assert all(row["engine"] == "-" and row["error"] for row in rows)


def test_find_ignores_other_folders(home: Path) -> None:
    project = home / "work" / "app"
    project.mkdir()
    (project / "config.json").write_text('{"port": 80}')
    folder(project / "node_modules" / "thing")
    folder(project / ".hidden")
    (project / "net.onnx").write_bytes(b"")
    (project / "mmproj-model.gguf").write_bytes(b"GGUF")
    (project / "m-00002-of-00002.gguf").write_bytes(b"GGUF")
    assert listed(str(project)) == {}
    assert "error" not in "".join(model_search.rows([]))


def test_find_is_quick_with_thousands_of_files(home: Path) -> None:
    for number in range(40):
        there = home / "models" / f"data{number}"
        there.mkdir(parents=True)
        for name in range(100):
            (there / f"{name}.txt").touch()
    for number in range(50):
        folder(home / "models" / "x" / f"model{number}")
    with within(2):
        assert len(listed()) == 50

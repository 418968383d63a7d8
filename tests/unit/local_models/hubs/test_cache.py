"""What of the hubs is on this machine: caches as the packages of the hubs lay them out, without those."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from byzer_magic.errors import BadParameter, NotFetched
from byzer_magic.local_models import files
from byzer_magic.local_models.hubs import cache, removal
from byzer_magic.local_models.hubs.choice import Wish
from byzer_magic.local_models.hubs.reference import parse

COMMIT, OLDER = "a" * 40, "b" * 40


class Cache:
    """A cache of Hugging Face, as a folder with blobs and links."""

    def __init__(self, home: Path) -> None:
        self.environ = {"HF_HOME": str(home / "hf"), "MODELSCOPE_CACHE": str(home / "ms")}
        self.hub = home / "hf" / "hub"
        self.scope = home / "ms" / "models"

    def put(self, repo: str, names: str, commit: str = COMMIT, ref: str = "main", text: str = "") -> Path:
        top = self.hub / f"models--{repo.replace('/', '--')}"
        for name in names.split():
            blob = top / "blobs" / f"{text or name}".replace("/", "-")
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_text(text or name)
            link = top / "snapshots" / commit / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
        if ref:
            (top / "refs").mkdir(exist_ok=True)
            (top / "refs" / ref).write_text(commit)
        return top

    def find(self, model: str, **wish: bool) -> str | None:
        found = cache.find(parse(model), self.environ, Wish(**wish))
        return str(found.relative_to(found.parents[1])) if found else None


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_folder_is_found_by_its_branch_and_commit(kept: Cache) -> None:
    kept.put("a/b", "config.json model.safetensors")
    kept.put("a/b", "config.json model.safetensors", OLDER, "v1")
    assert kept.find("hf:a/b") == kept.find(f"hf:a/b@{COMMIT}") == f"snapshots/{COMMIT}"
    assert kept.find("hf:a/b@v1") == f"snapshots/{OLDER}"
    assert kept.find("hf:a/b@v2") is None
    assert kept.find("hf:a/c") is None


def test_folder_is_not_found_while_weights_are_missing(kept: Cache) -> None:
    top = kept.put("a/b", "config.json model-00001-of-00002.safetensors")
    assert kept.find("hf:a/b") is None
    kept.put("a/b", "model-00002-of-00002.safetensors")
    assert kept.find("hf:a/b")
    index = top / "snapshots" / COMMIT / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "model-00003.safetensors"}}))
    assert kept.find("hf:a/b") is None
    index.write_text("damaged")
    assert kept.find("hf:a/b") is None


def test_link_without_its_blob_is_not_found(kept: Cache) -> None:
    top = kept.put("a/b", "config.json model.safetensors")
    (top / "blobs" / "model.safetensors").unlink()
    assert kept.find("hf:a/b") is None


def test_gguf_is_found_by_file_and_quantization_and_the_last_one_without(kept: Cache) -> None:
    top = kept.put("a/b", "b-Q4_0.gguf b-Q8_0.gguf")
    os.utime(top / "blobs" / "b-Q4_0.gguf", (1, 1))
    name = f"{COMMIT}/b-%s.gguf"
    assert kept.find("hf:a/b") == name % "Q8_0"
    os.utime(top / "blobs" / "b-Q8_0.gguf", (0, 0))
    assert kept.find("hf:a/b") == name % "Q4_0"
    assert kept.find("hf:a/b:Q8_0") == kept.find("hf:a/b:b-Q8_0.gguf") == name % "Q8_0"
    assert kept.find("hf:a/b:Q2_K") is None


def test_split_gguf_is_found_with_all_parts(kept: Cache) -> None:
    kept.put("a/b", "b-Q4_0-00001-of-00002.gguf")
    assert kept.find("hf:a/b") is kept.find("hf:a/b:Q4_0") is None
    kept.put("a/b", "b-Q4_0-00002-of-00002.gguf")
    assert kept.find("hf:a/b") == kept.find("hf:a/b:Q4_0") == f"{COMMIT}/b-Q4_0-00001-of-00002.gguf"


def test_engine_for_gguf_does_not_get_a_folder(kept: Cache) -> None:
    kept.put("a/b", "config.json model.safetensors")
    assert kept.find("hf:a/b", gguf=True) == f"snapshots/{COMMIT}"
    assert kept.find("hf:a/b", gguf=True, only_gguf=True) is None
    kept.put("a/b", "b-Q4_0.gguf")
    assert kept.find("hf:a/b") == f"snapshots/{COMMIT}"
    assert kept.find("hf:a/b", gguf=True) == f"{COMMIT}/b-Q4_0.gguf"


@pytest.mark.parametrize("where", ["a--b.c/snapshots/master", "a/b___c", "../hub/models/a/b___c"])
def test_modelscope_keeps_models_where_its_versions_put_them(kept: Cache, where: str) -> None:
    folder = kept.scope / where
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    (folder / "model.safetensors.incomplete").touch()
    assert kept.find("ms:a/b.c") is None
    (folder / "model.safetensors").touch()
    found = cache.find(parse("ms:a/b.c"), kept.environ)
    assert found
    assert found.resolve() == folder.resolve()


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HF_HUB_CACHE": "/x"}, "/x"),
        ({"HUGGINGFACE_HUB_CACHE": "/y", "HF_HOME": "/z"}, "/y"),
        ({"HF_HOME": "/z"}, "/z/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, str(Path("~/.cache/huggingface/hub").expanduser())),
    ],
)
def test_cache_of_hugging_face_is_where_its_variables_say(environ: dict[str, str], folder: str) -> None:
    assert cache.repository(parse("hf:a/b"), environ) == Path(folder) / "models--a--b"


def test_missing_model_says_how_to_fetch_it_and_whether_the_hub_may_be_asked(kept: Cache) -> None:
    with pytest.raises(NotFetched) as err:
        cache.local("hf:a/b", kept.environ)
    assert err.value.details == {"model": "hf:a/b"}
    assert "%byzer pull hf:a/b" in err.value.hint
    with pytest.raises(NotFetched, match="HF_HUB_OFFLINE is set"):
        cache.local("hf:a/b", {**kept.environ, "HF_HUB_OFFLINE": "1"})


def test_files_are_inspected_by_their_name_in_a_hub(kept: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kept.environ.items():
        monkeypatch.setenv(name, value)
    top = kept.put("a/b", "config.json model.pt config.yaml")
    (top / "blobs" / "config.json").write_text("{}")
    assert files.existing("hf:a/b") == top / "snapshots" / COMMIT
    with pytest.raises(NotFetched):
        files.inspect("hf:a/c")
    with pytest.raises(BadParameter, match="hf:OWNER/REPO"):
        files.inspect("hf:")


# ---- lists and removing


def test_repositories_are_listed_complete_or_not(kept: Cache) -> None:
    kept.put("a/b", "model.safetensors")
    part = kept.hub / "models--a--c--d" / "blobs" / "x.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"123")
    (kept.hub / "datasets--a--e").mkdir()
    (kept.scope / "a--f" / "snapshots").mkdir(parents=True)
    found = cache.repositories(kept.environ)
    assert list(map(str, found)) == ["hf:a/b", "hf:a/c--d", "ms:a/f"]
    assert [cache.unfinished(one, kept.environ) for one in found] == [0, 3, 0]


def test_path_in_a_cache_has_a_name_in_its_hub(kept: Cache) -> None:
    top = kept.put("a/b", "b-Q4_0.gguf")
    assert str(cache.of_path(top / "snapshots" / COMMIT, kept.environ)) == "hf:a/b"
    assert str(cache.of_path(top / "snapshots" / COMMIT / "b-Q4_0.gguf", kept.environ)) == "hf:a/b:b-Q4_0.gguf"
    assert cache.of_path(Path("/models/b.gguf"), kept.environ) is None


def test_removal_frees_a_repository_with_all_it_has(kept: Cache) -> None:
    top = kept.put("a/b", "config.json model.safetensors")
    (top / "blobs" / "rest.incomplete").write_bytes(b"1234")
    lock = kept.hub / ".locks" / top.name / "x.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    other = kept.put("a/c", "config.json")
    reference = removal.named("a/b", kept.environ)
    assert removal.remove(reference, kept.environ) == len("config.json" + "model.safetensors") + 4 + len(COMMIT)
    assert not top.exists()
    assert not lock.parent.exists()
    assert other.exists()
    with pytest.raises(NotFetched, match="a/b is not in the caches"):
        removal.named("a/b", kept.environ)


def test_removal_of_a_quantization_keeps_the_others_and_what_they_share(kept: Cache) -> None:
    top = kept.put("a/b", "b-Q4_0.gguf b-Q8_0.gguf")
    kept.put("a/b", "b-Q4_0.gguf", OLDER, "v1", text="b-Q4_0.gguf")
    kept.put("a/b", "same.gguf", COMMIT, "", text="b-Q8_0.gguf")
    assert removal.remove(parse("hf:a/b:Q4_0"), kept.environ) == len("b-Q4_0.gguf")
    assert sorted(path.name for path in (top / "snapshots").rglob("*.gguf")) == ["b-Q8_0.gguf", "same.gguf"]
    assert removal.remove(parse("hf:a/b:b-Q8_0.gguf"), kept.environ) == 0, "another file has the same content"
    assert kept.find("hf:a/b") == f"{COMMIT}/same.gguf"
    with pytest.raises(NotFetched):
        removal.remove(parse("hf:a/b:Q4_0"), kept.environ)


def test_removal_of_a_file_of_modelscope_frees_it(kept: Cache) -> None:
    folder = kept.scope / "a--b" / "snapshots" / "master"
    folder.mkdir(parents=True)
    (folder / "b-Q4_0.gguf").write_bytes(b"12345")
    assert removal.remove(parse("ms:a/b:Q4_0"), kept.environ) == 5
    assert not list(folder.iterdir())

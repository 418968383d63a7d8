"""Models in hubs, as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter
from byzer_magic.local_models import files, gguf
from byzer_magic.local_models.hubs.reference import Reference, from_path, is_in_hub, parse
from byzer_magic.plan import resolve

NAMES = st.from_regex(r"[A-Za-z0-9][\w.-]{0,20}", fullmatch=True)


@given(
    st.sampled_from(["hf", "ms"]), NAMES, NAMES, st.one_of(st.just(""), NAMES),
    st.lists(NAMES, max_size=3).map("/".join),
)  # fmt: skip
def test_reference_is_parsed_as_it_is_written(hub: str, owner: str, name: str, revision: str, part: str) -> None:
    reference = Reference(hub=hub, repo=f"{owner}/{name}", revision=revision, part=part)
    assert is_in_hub(str(reference))
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf://Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B"),
        ("HF:Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B"),
        ("hf:gpt2", "hf:gpt2"),
        ("hf:a/b@refs/pr/1:x/y.gguf", "hf:a/b@refs/pr/1:x/y.gguf"),
        ("https://huggingface.co/Qwen/Qwen3-0.6B", "hf:Qwen/Qwen3-0.6B"),
        ("https://huggingface.co/a/b-GGUF/blob/main/b-Q4_0.gguf?download=true", "hf:a/b-GGUF@main:b-Q4_0.gguf"),
        ("https://www.modelscope.cn/models/Qwen/Qwen3-0.6B/files", "ms:Qwen/Qwen3-0.6B"),
    ],
)
def test_reference_takes_what_hubs_show(text: str, meant: str) -> None:
    assert is_in_hub(text)
    assert str(parse(text)) == meant


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c", "ms:no-owner", "hf:a b/c", "hf:a/b:", "hf:a/b:x:y"])
def test_reference_refuses_what_is_none(text: str) -> None:
    with pytest.raises(BadParameter, match="hf:OWNER/REPO"):
        parse(text)


@pytest.mark.parametrize("text", ["", None, "/models/hf:x", "models/x", "C:/hf/x", "https://example.com/a/b"])
def test_paths_are_not_in_a_hub(text: str | None) -> None:
    assert not is_in_hub(text)


@pytest.mark.parametrize(
    ("path", "exactly"),
    [
        ("/h/models--a--b/snapshots/c0ffee/gguf/b-Q4_0.gguf", "hf:a/b@c0ffee:gguf/b-Q4_0.gguf"),
        ("/snapshots/models--a--b--c/snapshots/c0ffee", "hf:a/b--c@c0ffee"),
        ("/ms/models/a--b/snapshots/master/b.gguf", "ms:a/b@master:b.gguf"),
        ("/elsewhere/b.gguf", None),
        ("/h/snapshots/b.gguf", None),
        ("/h/models--a--b/snapshots", None),
        ("", None),
    ],
)
def test_path_of_a_cache_is_a_commit_and_a_file(path: str, exactly: str | None) -> None:
    found = from_path(Path(path))
    assert (str(found) if found else None) == exactly


def test_repository_in_place_of_a_path_is_named_in_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()

    def plan(path: str) -> object:
        return resolve(DeploySpec(model="m", model_path=path), {}, {})

    for check in (files.inspect, gguf.find, plan):
        with pytest.raises(BadParameter, match=r"write hf:Qwen/Qwen3-0\.6B"):
            check("Qwen/Qwen3-0.6B")
        with pytest.raises(BadParameter) as err:
            check("models/Qwen3-0.6B")
        assert "hf:" not in err.value.hint

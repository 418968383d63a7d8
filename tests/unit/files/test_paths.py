"""Paths at which nothing is: why, and what was meant; never the same path again."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from byzer_magic import media
from byzer_magic.commands.parser import read_text
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter, CommandError, suggest
from byzer_magic.files import paths
from byzer_magic.local_models import files, gguf
from byzer_magic.plan import resolve
from tests.conftest import short_folder
from tests.users import ALICE, as_user


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    (models / "Model Q4.gguf").write_bytes(b"GGUF")
    (models / "model.gguf").write_bytes(b"GGUF")
    (models / "caf\u00e9.gguf").write_bytes(b"GGUF")
    (models / "config.json").write_text("{}", encoding="utf-8")
    (models / "snapshot.gguf").symlink_to("../blobs/0a1b")
    (models / "dangling.gguf").symlink_to("/nowhere/model.gguf")
    (models / "gone").symlink_to("/nowhere/folder")
    monkeypatch.chdir(tmp_path)
    return models


CASES = [
    ("{}/model.ggfu", "does not exist", "Did you mean {}/model.gguf?"),
    ("{}/MODEL.GGUF", "does not exist", "Did you mean {}/model.gguf?"),
    ("{}/model.gguf ", "does not exist", "Did you mean {}/model.gguf?"),
    (" {}/model.gguf\n", "does not exist", "Did you mean {}/model.gguf?"),
    ("{}/model.gguf\u200b", "does not exist", "Did you mean {}/model.gguf?"),
    ("'{}/model.gguf'", "does not exist", "Did you mean {}/model.gguf?"),
    ('"{}/model.gguf"', "does not exist", "Did you mean {}/model.gguf?"),
    ("\u201c{}/model.gguf\u201d", "does not exist", "Did you mean {}/model.gguf?"),
    ("{}/model.gguf.", "does not exist", "Did you mean {}/model.gguf?"),
    ("{}/model.gguf,", "does not exist", "Did you mean {}/model.gguf?"),
    ("{}/Model\\ Q4.gguf", "does not exist", "Did you mean {}/Model Q4.gguf?"),
    ("file://{}/model.gguf", "does not exist", "Did you mean {}/model.gguf?"),
    ("file://localhost{}/Model%20Q4.gguf", "does not exist", "Did you mean {}/Model Q4.gguf?"),
    (unicodedata.normalize("NFD", "{}/caf\u00e9.gguf"), "does not exist", "Did you mean {}/caf\u00e9.gguf?"),
    ("{}/snapshot.gguf", "is a link to ../blobs/0a1b, which does not exist", "download the model again"),
    ("{}/dangling.gguf", "is a link to /nowhere/model.gguf, which does not exist", "Restore that file"),
    ("{}/gone/model.gguf", "is a link to /nowhere/folder, which does not exist", "Restore that file"),
    ("{}/model.gguf/config.json", "{}/model.gguf is a file, not a folder", "{}/model.gguf"),
    ("~no-such-user/model.gguf", "There is no user no-such-user", "in full"),
    ("C:\\models\\model.gguf", "does not exist", "a path of Windows"),
    ("C:/models/model.gguf", "does not exist", "a path of Windows"),
    ("\\\\server\\models\\model.gguf", "does not exist", "a path of Windows"),
    ("https://huggingface.co/a/b/model.gguf", "does not exist", "This is a URL"),
    ("{}/nothing/x.gguf", "does not exist", "The folder {} exists, but it has no nothing."),
    ("{}x/model.gguf", "does not exist", "Did you mean {}?"),
    ("{}/" + "x" * 300, "does not exist", "{} contains: "),
    ("{}/a\0b", "does not exist", "{} contains: "),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "message", "hint"), CASES)
def test_a_path_at_which_nothing_is_leads_to_the_one_that_was_meant(
    typed: str, message: str, hint: str, folder: Path
) -> None:
    found = paths.why_missing(typed.format(folder))
    assert message.format(folder) in str(found[0])
    assert hint.format(folder) in str(found[1])


@pytest.mark.parametrize("typed", [case[0] for case in CASES])
def test_every_reader_of_paths_gives_that_answer_and_no_error_of_python(typed: str, folder: Path) -> None:
    path = typed.format(folder)
    is_local = not path.startswith("https:")
    spec = DeploySpec(model="m", infer_backend="llama_cpp", model_path=path)
    for read, error in (
        (lambda: files.existing(path), BadParameter),
        (lambda: files.inspect(path), BadParameter),
        (lambda: gguf.find(path), BadParameter),
        (lambda: resolve(spec, {}, {}), BadParameter),
        *(((lambda: media.image(path), CommandError), (lambda: media.audio(path), CommandError)) * is_local),
        (lambda: read_text(path), CommandError),
    ):
        with pytest.raises(error) as caught:
            read()
        assert f"Did you mean {path}?" not in str(caught.value)
        assert str(caught.value.hint)


def test_a_folder_that_may_not_be_read_is_named() -> None:
    with short_folder() as name:
        Path(name).chmod(0o755)
        closed = Path(name) / "closed"
        closed.mkdir(0)

        def refusal() -> str:
            with pytest.raises(BadParameter) as caught:
                resolve(DeploySpec(model="m", infer_backend="llama_cpp", model_path=f"{closed}/model.gguf"), {}, {})
            return str(caught.value)

        text = as_user(ALICE, refusal) if os.geteuid() == 0 else refusal()  # root may read everything
        closed.chmod(0o700)
    assert "cannot be read: Permission denied" in text


NAMES = st.text(st.sampled_from("ab.\u00e9 \\'\""), min_size=1, max_size=6).filter(lambda name: name.strip("."))


@given(there=st.lists(NAMES, max_size=4, unique=True), links=st.lists(NAMES, max_size=2, unique=True), typed=NAMES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_hint_is_the_path_itself(
    there: list[str], links: list[str], typed: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("names")
    for name in there:
        (folder / name).touch()
    for name in set(links) - set(there):
        (folder / name).symlink_to("nowhere")
    path = folder / typed
    if not path.exists():
        _message, hint = paths.why_missing(path)
        assert hint
        assert str(hint) != f"Did you mean {path}?"
        if found := re.fullmatch(r"Did you mean (.+)\?", str(hint)):
            assert os.path.lexists(found[1])


def test_suggest_never_suggests_the_word_itself() -> None:
    assert suggest("vllm", ["vllm"], "nothing") == "nothing"
    assert str(suggest("vllm", ["vllm", "vlm"])) == "Did you mean vlm?"

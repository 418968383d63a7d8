"""What is checked before a Ray Dataset is mapped; tests/ray/test_map.py maps one."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.data import datasets
from byzer_magic.data.rows import is_dataset
from tests.unit.data.test_frames import echo, model


class Dataset:
    """What a map needs to know about a Ray Dataset."""

    __module__ = "ray.data.dataset"

    def columns(self, *, fetch_if_missing: bool) -> list[str]:
        assert not fetch_if_missing, "that could read all of it"
        return ["text"]

    def map_batches(self) -> None:
        raise AssertionError("nothing is to be mapped")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "{text}", "dry_run": True}, "not counted before it is consumed"),
        ({"prompt": "{text}", "budget": 1.0}, "no budget together"),
        ({"prompt": "{txet}"}, "not a column"),
    ],
)
def test_map_of_a_dataset_is_checked_first(arguments: dict[str, Any], message: str) -> None:
    assert is_dataset(Dataset())
    with pytest.raises(errors.CommandError, match=message):
        model(echo).map(Dataset(), **arguments)


def test_journal_of_another_machine_is_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = socket.gethostname()
    assert datasets.journal_folder(here, str(tmp_path)) == tmp_path
    there = datasets.journal_folder("another", str(tmp_path))
    assert there.is_relative_to(tmp_path / "home" / ".byzer")
    assert there.is_dir()
    assert datasets.journal_folder("another", str(tmp_path)) == there
    assert datasets.journal_folder(here, str(tmp_path / "gone")) not in (there, tmp_path)

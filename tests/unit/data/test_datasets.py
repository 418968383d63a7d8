"""What is checked before a Ray Dataset is mapped; tests/ray/test_map.py maps one."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.client import spending
from byzer_magic.data import datasets
from byzer_magic.data.rows import is_dataset
from byzer_magic.data.wanted import Wanted
from byzer_magic.journal.purse import PurseFile
from byzer_magic.journal.store import Store
from tests.unit.data.test_frames import echo, model


class Dataset:
    """What a map needs to know about a Ray Dataset."""

    __module__ = "ray.data.dataset"

    def columns(self, *, fetch_if_missing: bool) -> list[str]:
        assert not fetch_if_missing, "that could read all of it"
        return ["text"]

    def map_batches(self, _kind: Any = None, **_how: Any) -> Any:
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


@pytest.mark.parametrize(("concurrency", "actors", "each"), [(3, 1, 3), (64, 2, 32), (100, 3, 33)])
def test_actors_share_the_requests_in_flight(
    concurrency: int, actors: int, each: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Mapping(Dataset):
        __module__ = "ray.data.dataset"

        def map_batches(self, _kind: Any = None, **how: Any) -> Any:
            return how

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace(ActorPoolStrategy=SimpleNamespace))  # type: ignore[arg-type]
    how = model(echo).map(Mapping(), "{text}", concurrency=concurrency)
    assert (how["compute"].max_size, how["fn_constructor_args"][1].concurrency) == (actors, each)


def test_actor_pays_from_the_purse_of_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    file = PurseFile(Store.open(tmp_path).path)
    file.put(0.5, "USD", strict=False)
    assert spending.WALLET.open() is None, "it works in another folder"
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    datasets.Mapped(model(echo), Wanted(prompt="{text}"), socket.gethostname(), str(tmp_path))
    found = spending.WALLET.open()
    assert found
    assert found[1].amount == 0.5

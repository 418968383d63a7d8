"""What is checked before a Ray Dataset is mapped; tests/ray/test_map.py maps one."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from byzer_magic import errors
from byzer_magic.client import journaling, spending
from byzer_magic.data import datasets
from byzer_magic.data.datasets import Project
from byzer_magic.data.frames import finished
from byzer_magic.data.rows import is_dataset
from byzer_magic.data.run import prepared
from byzer_magic.data.wanted import Wanted
from byzer_magic.journal.borrowed import BorrowedStore, Line
from byzer_magic.journal.bounds import Bounds
from byzer_magic.journal.lending import Lender, Reply
from byzer_magic.journal.purse import PurseFile
from byzer_magic.journal.store import Store
from byzer_magic.types import EmbeddingBatch
from tests.unit.data.test_frames import echo, journaled, model, sent


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


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lender:
    """The files of a project on the user's machine; this process is on another one."""
    monkeypatch.setattr(journaling, "JOURNAL", journaling.Journal())
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    monkeypatch.setattr(datasets, "_node", lambda: "there")
    return Lender(str(tmp_path), socket.gethostname(), Bounds())


def embedded(request: Any) -> list[EmbeddingBatch]:
    return [EmbeddingBatch(0, 2, np.ones((len(request.texts), 2), "<f4").tobytes())]


def replied(request: Any) -> str:
    return f"Echo: {request.messages[-1].content}"


@pytest.mark.parametrize(("answer", "capability"), [(replied, "chat"), (embedded, "embed")])
async def test_two_machines_at_once_ask_each_row_once(lender: Lender, answer: Any, capability: str) -> None:
    rows = pd.DataFrame({"text": [f"row {number}" for number in range(200)]})
    with ExitStack() as stack:
        asked = [journaled(answer, capabilities=(capability,)) for _machine in range(2)]
        runs = []
        for each, part in zip(asked, (rows[:150], rows[50:]), strict=True):
            line = Line(lender.do, "here")
            stack.callback(line.close)
            journaling.JOURNAL.use(BorrowedStore(line))
            runs.append(await prepared(each.manager, "m", part, Wanted(prompt="{text}")))
        await asyncio.gather(*(run.run() for run in runs))
    for run in runs:
        assert finished(run).iloc[:, 1].notna().all()
    requests = [request for each in asked for request in sent(each)]
    texts = [text for request in requests for text in (request.texts if capability == "embed" else [request])]
    assert len(texts) == 200


def test_rows_are_not_asked_while_the_machine_of_the_user_is_out_of_reach(
    lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def send(*group: Any) -> Reply:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ConnectionError("it is off")
        return lender.do(*group)

    line = Line(send, "here", iter(range(0, 10**6, 10)).__next__, lambda _seconds: None)
    monkeypatch.setattr(datasets, "_line", lambda *_about: line)
    asked = journaled(replied)
    project = Project(folder="/project", host="here", node="here")
    mapped = datasets.Mapped(asked, Wanted(prompt="{text}"), project)
    for _batch in range(2):
        with pytest.raises(errors.JournalOutOfReach, match="cannot be reached from here: it is off") as caught:
            mapped(pd.DataFrame({"text": ["a", "b"]}))
        assert len(caught.traceback) == 2, "Ray Data shows all of it"
        assert caught.value.__suppress_context__
    assert sent(asked) == []
    line.close()


@pytest.mark.parametrize(("concurrency", "actors", "each"), [(3, 1, 3), (64, 2, 32), (100, 3, 33)])
def test_actors_share_the_requests_in_flight(
    concurrency: int, actors: int, each: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Mapping(Dataset):
        __module__ = "ray.data.dataset"

        def map_batches(self, _kind: Any = None, **how: Any) -> Any:
            return how

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "_node", str)
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace(ActorPoolStrategy=SimpleNamespace))  # type: ignore[arg-type]
    how = model(echo).map(Mapping(), "{text}", concurrency=concurrency)
    assert (how["compute"].max_size, how["fn_constructor_args"][1].concurrency) == (actors, each)
    project = how["fn_constructor_args"][2]
    assert (project.folder, project.host, project.has_purse) == (str(tmp_path), socket.gethostname(), False)


def test_actor_pays_from_the_purse_of_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    file = PurseFile(Store.open(tmp_path).path)
    file.put(0.5, "USD", strict=False)
    assert spending.WALLET.open() is None, "it works in another folder"
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    monkeypatch.setattr(datasets, "_node", lambda: "here")
    project = Project(folder=str(tmp_path), host=socket.gethostname(), node="here")
    datasets.Mapped(model(echo), Wanted(prompt="{text}"), project)
    found = spending.WALLET.open()
    assert found
    assert found[1].amount == 0.5

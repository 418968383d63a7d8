"""Models over tables on a real deployment: processes that are killed, rows that fail, a Ray Dataset."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client import journaling
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from tests.conftest import KEY
from tests.servers.process import Process, received

pytestmark = pytest.mark.ray

ROWS = 240
SLOTS = 16
KILLS = 3


def deploy(manager: Manager, provider: Process, alias: str, model: str = "gpt-4o", key: str = KEY) -> None:
    params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": key, "saas.model": model}
    spec = DeploySpec(
        model=alias, pretrained_model_type="saas/openai", infer_params=params, cpus_per_worker=0.001,
        worker_concurrency=SLOTS,
    )  # fmt: skip
    for _event in manager.iterate(manager.deploy(manager.plan(spec))):
        pass


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(journaling, "JOURNAL", journaling.Journal())
    return tmp_path


def test_map_killed_and_run_again_asks_each_row_once_but_those_in_flight(
    manager: Manager, provider: Process, project: Path
) -> None:
    deploy(manager, provider, "mapped")
    rows = pd.DataFrame({"text": [f"killed {number}" for number in range(ROWS)]})
    model = bz.model("mapped")

    def run() -> None:
        found = model.map(rows, "slow:60ms {text}", out="answer")
        found.answer.to_csv(project / "found.csv")

    rng, first = random.Random(7), received(provider)
    for _kill in range(KILLS):
        before = received(provider)
        process = multiprocessing.get_context("fork").Process(target=run)
        process.start()
        last = before + rng.randrange(20, 60)
        while received(provider) < last:
            assert process.is_alive()
            time.sleep(0.02)
        process.kill()
        process.join()
    run()
    found = pd.read_csv(project / "found.csv")
    assert found.answer.tolist() == [f"Echo: killed {number}" for number in range(ROWS)]
    total = received(provider) - first
    assert ROWS <= total <= ROWS + KILLS * 2 * SLOTS, "those in flight, and those that were being written"
    run()
    assert received(provider) == first + total, "another run asks nothing"


def test_two_processes_that_map_the_same_rows_share_the_work(
    manager: Manager, provider: Process, project: Path
) -> None:
    deploy(manager, provider, "mapped")
    rows = pd.DataFrame({"text": [f"shared {number}" for number in range(60)]})

    def run() -> None:
        bz.model("mapped").map(rows, "slow:60ms {text}", out="answer")

    before = received(provider)
    other = multiprocessing.get_context("fork").Process(target=run)
    other.start()
    found = bz.model("mapped").map(rows, "slow:60ms {text}", out="answer")
    other.join(60)
    assert other.exitcode == 0
    assert found.answer.notna().all()
    assert received(provider) == before + len(rows)


def test_map_of_an_odd_frame_and_of_what_a_limit_refuses(manager: Manager, provider: Process, project: Path) -> None:
    assert project
    deploy(manager, provider, "mapped")
    texts = [f"fault:400 {number}" if number % 10 == 3 else f"row {number} 😀" for number in range(60)]
    frame = pd.DataFrame({"text": [*texts, None, "x" * 2_000_000], "twice": 1}, index=range(62, 0, -1))
    frame.insert(2, "twice", 2, allow_duplicates=True)
    found = bz.model("mapped").map(frame, "{text}", out="answer")
    assert found.index.tolist() == list(range(62, 0, -1))
    assert found.answer_error.notna().sum() == 7
    assert found.answer.dropna().tolist()[:-1] == [f"Echo: {text}" for text in texts if "fault" not in text]
    assert len(found.answer.iloc[-1]) > 1_000_000
    with pytest.raises(errors.AuthenticationFailed) as caught:
        deploy(manager, provider, "wrong", key="sk-wrong")
        bz.model("wrong").map(frame, "{text}")
    assert len(caught.value.partial) == 62


def test_map_of_a_dataset_and_search(manager: Manager, provider: Process, project: Path, driver: Any) -> None:
    import ray.data

    assert driver.is_initialized()
    assert project
    deploy(manager, provider, "mapped")
    deploy(manager, provider, "embedder", "text-embedding-3-small")
    rows = pd.DataFrame({"text": [f"row {number}" for number in range(50)]})
    ray.data.DataContext.get_current().enable_progress_bars = False
    before = received(provider)
    dataset = bz.model("mapped").map(ray.data.from_pandas(rows), "say:{text}!", out="answer")
    assert received(provider) == before, "nothing is asked before it is consumed"
    found = dataset.to_pandas().sort_values("text")
    assert found.answer.tolist() == [f"{text}!" for text in sorted(rows.text)]
    assert found.answer_error.isna().all()
    assert received(provider) == before + 50
    assert bz.model("mapped").map(rows, "say:{text}!").response.tolist() == [f"{text}!" for text in rows.text]
    assert received(provider) == before + 50, "its actors have kept their answers in the journal of this project"
    embedded = bz.model("embedder").map(rows, "{text}", dimensions=8)
    nearest = bz.search(embedded, "row 7", k=3)
    assert nearest.text.tolist()[0] == "row 7"
    assert nearest.score.is_monotonic_decreasing
    assert nearest.score.iloc[0] == pytest.approx(1.0)

"""One purse, two processes, and a provider that counts: what they spend together is never more than is in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.catalog import prices
from byzer_magic.client import spending
from byzer_magic.client.journaling import How, using
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.journal.purse import PurseFile
from byzer_magic.journal.store import project_store
from byzer_magic.types import Usage
from tests.conftest import KEY, Shell
from tests.servers.process import Process, noted_after, received

pytestmark = pytest.mark.ray

AMOUNT = 0.01
LARGER = 0.1
ANSWER = 20
"""Tokens of each answer, and its limit."""
SPEND = """
import byzer_magic as bz
from byzer_magic import errors
from concurrent.futures import ThreadPoolExecutor
model, costs = bz.model("shared"), []
def ask(number):
    try:
        costs.append(model.chat(f"tokens:20@400 {number}", max_tokens=20).cost)
    except errors.PurseEmpty:
        pass
print("ready", flush=True)
input()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(ask, range(30)))
print(len(costs), sum(costs))
"""
UNLIMITED = """
import random, sys
import byzer_magic as bz
from byzer_magic import errors
from concurrent.futures import ThreadPoolExecutor
model, chance, ends = bz.model("shared"), random.Random(int(sys.argv[1])), []
def ask(number):
    try:
        model.chat(f"tokens:{chance.choice([20, 200, 9000])}@600 {number}")
    except errors.PurseEmpty as err:
        ends.append(err)
print("ready", flush=True)
input()
with ThreadPoolExecutor(3) as pool:
    list(pool.map(ask, range(8)))
print(len(ends))
"""


@pytest.fixture
def purse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PurseFile]:
    """The purse of a project of its own, in which this process works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    file = spending.WALLET.file(make=True)
    assert file
    file.put(AMOUNT, "USD", strict=False)
    yield file
    file.remove()


def deploy(manager: Manager, provider: Process) -> None:
    params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": "gpt-4o"}
    spec = DeploySpec(
        model="shared", pretrained_model_type="saas/openai", cpus_per_worker=0.001, infer_params=params,
        worker_concurrency=16, replace=True,
    )  # fmt: skip
    list(manager.iterate(manager.deploy(manager.plan(spec))))


def test_processes_that_share_a_purse_never_overspend(
    manager: Manager, provider: Process, purse: PurseFile, shell: Shell, tmp_path: Path
) -> None:
    deploy(manager, provider)
    with using(How(store=project_store(start=tmp_path), sample=0)):
        assert bz.model("shared").chat("known", max_tokens=ANSWER).cost
    before = received(provider) - 1
    spent = purse.read()
    assert spent
    command, pipe = [sys.executable, "-c", SPEND], subprocess.PIPE
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=shell.env, stdin=pipe, stdout=pipe, text=True) for _ in range(2)
    ]
    for process in running:  # one that starts later would find the purse empty
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    counts = [output.split() for output in _go(running)]
    asked = received(provider) - before
    price = prices.find("saas/openai", "gpt-4o")
    assert price
    one = price.at_any_length(Usage(7, ANSWER))
    found = purse.read()
    assert found
    assert [process.returncode for process in running] == [0, 0]
    assert all(int(count) > 5 for count, _sum in counts), "45 answers are in the purse, and neither asks for over 30"
    assert asked == sum(int(count) for count, _sum in counts) + 1, "what the purse refused was not sent"
    assert found.spent == pytest.approx(sum(float(cost) for _count, cost in counts) + spent.spent)
    assert AMOUNT - 3 * one < found.spent <= AMOUNT
    assert found.held == 0

    _check_empty(purse, provider, tmp_path)
    _check_unlimited(purse, provider, shell, tmp_path)
    shown = shell("purse")  # in the same folder
    assert "$0.0075" in shown.stdout, shown.stderr


def _go(running: list[subprocess.Popen[str]]) -> list[str]:
    """Begins in all processes before it waits for one; returns what each printed."""
    for process in running:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate(timeout=120)[0] for process in running]


def _check_unlimited(purse: PurseFile, provider: Process, shell: Shell, folder: Path) -> None:
    """What nothing limits ends where the purse does, and stays in the journal as far as it has come."""
    purse.put(LARGER, "USD", strict=False, afresh=True)
    before = received(provider)
    env, pipe = {**shell.env, "BYZER_JOURNAL": "1"}, subprocess.PIPE
    commands = [[sys.executable, "-c", UNLIMITED, str(seed)] for seed in range(2)]
    running = [
        subprocess.Popen(command, cwd=folder, env=env, stdin=pipe, stdout=pipe, text=True) for command in commands
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    outputs = [output.split() for output in _go(running)]
    price, found = prices.find("saas/openai", "gpt-4o"), purse.read()
    assert price
    assert found
    asked = noted_after(provider, before)
    made = sum(price.at_any_length(Usage(7, entry.get("sent", 0))) for entry in asked)
    assert made <= LARGER, "what the provider has made, also after it was told to end"
    assert made <= found.spent <= LARGER
    assert found.spent > LARGER / 2
    assert found.held == 0
    ended = [
        entry for entry in project_store(start=folder).walk() if entry and entry.error and "tokens:" in entry.prompt
    ]
    assert len(ended) == sum(int(count) for [count] in outputs)
    assert any(entry.answer for entry in ended)
    assert {entry.error["code"] for entry in ended if entry.error} == {"PurseEmpty"}

    purse.put(0.0075, "USD", strict=False, afresh=True)
    before = received(provider)
    bz.model("shared").chat("tokens:5 at the end")
    [last] = noted_after(provider, before)
    assert 0 < last["body"]["max_tokens"] < 750, "what is left is its limit"


def _check_empty(purse: PurseFile, provider: Process, folder: Path) -> None:
    """Nothing is sent, a table stops, and what the journal knows is answered."""
    model, before = bz.model("shared"), received(provider)
    with pytest.raises(errors.PurseEmpty):
        model.chat("more", max_tokens=500)
    with pytest.raises(errors.PurseEmpty):
        asyncio.run(model.achat("more", max_tokens=500))
    with pytest.raises(errors.PurseEmpty):
        model.map(pd.DataFrame({"text": ["a", "b", "c"] * 10}), prompt="{text}", out="answer", max_tokens=500)
    assert received(provider) == before
    with using(How(store=project_store(start=folder), sample=0)):
        assert model.chat("known", max_tokens=ANSWER).journal
    purse.add(1.0)
    model.chat("more", max_tokens=500)
    assert received(provider) == before + 1

"""`stat` of deployments that are only data: the table, the JSON, and what it says of a full pool."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client import serving
from byzer_magic.commands.parser import parse, split
from byzer_magic.i18n import using
from byzer_magic.runtime.transport.messages import FleetEntry
from byzer_magic.stat import LimitStat
from tests.fleets import Pretended, model


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    """Returns what a command writes to stdout and to stderr; the pool of `busy` is full."""
    manager = Pretended(model("idle", pool_cpu=0.02), model("busy", pool_cpu=0.97), model("older", pool_cpu=None))

    def run(line: str) -> tuple[str, str]:
        run_all(Context(manager=cast("Any", manager), output=Terminal()), [parse(split(line))])
        return tuple(capsys.readouterr())  # type: ignore[return-value]  # of two

    return run


def test_stat_has_the_share_of_a_core_and_names_full_pools(shown: Any) -> None:
    out, err = shown("stat")
    header, *rows = out.splitlines()
    assert "CPU" in header
    assert [("2%" in row, "97%" in row) for row in rows] == [(True, False), (False, True), (False, False)]
    [note] = err.splitlines()
    assert note.startswith("busy: The deployment's process uses 97% of a CPU core")


def test_stat_of_a_full_pool_in_chinese(shown: Any) -> None:
    with using("zh"):
        _, err = shown("stat")
    assert err.startswith("busy：部署进程已占用单个 CPU 核心的 97%")


def test_stat_as_json_is_the_eight_fields_whatever_the_load(shown: Any) -> None:
    out, err = shown("stat --model busy")
    assert list(json.loads(out)) == list(model().legacy()), "the note is not on stdout"
    assert "97%" in err
    assert shown("stat --model idle")[1] == ""
    out, err = shown("stat --json")
    assert (set(json.loads(out)["busy"]), err) == (set(model().legacy()), "")


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (LimitStat("rpm", 60, 60, "minute", 7), "m: 60 of 60 requests a minute (free in 7s)"),
        (LimitStat("tpm", 12_345, 100_000, "minute"), "m: 12,345 of 100,000 tokens a minute"),
        (LimitStat("budget_usd", 1.25, 5, "day"), "m: $1.25 of $5.00 today (UTC)"),
        (LimitStat("budget_usd", 5.01, 5, "deployment", None), "m: $5.01 of $5.00 spent (used up)"),
        (LimitStat("max_queue", 0, 50, ""), "m: 0 of 50 places in the queue"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_stat_shows_what_is_used_of_limits(limit: LimitStat, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    context = Context(manager=cast("Any", Pretended(model("m", limits=[limit]))), output=Terminal())
    run_all(context, [parse(["stat"])])
    out, err = capsys.readouterr()
    assert words in err
    assert ("0/50" in out) == (limit.name == "max_queue")
    run_all(context, [parse(["stat", "--model", "m", "--json"])])
    found = json.loads(capsys.readouterr().out)["limits"][limit.name]
    assert found == {"used": limit.used, "limit": limit.limit, "per": limit.per, "free_in": limit.free_in}


def test_list_names_what_is_still_being_restored_or_waits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_endpoint(_manager: Any) -> list[Any]:
        return []

    monkeypatch.setattr(serving, "running", no_endpoint)
    manager = Pretended()
    context = Context(manager=cast("Any", manager), output=Terminal())
    run_all(context, [parse(["list"])])
    assert "Nothing is deployed." in capsys.readouterr().err
    manager.absent = [
        FleetEntry("gpt", "saas/openai", 1, restoring=True),
        FleetEntry("llama", "custom/auto", 1, "no file"),
    ]
    for command in ("list", "stat"):
        run_all(context, [parse([command])])
        assert "Not running yet: gpt, llama. `fleet` shows why." in capsys.readouterr().err
    manager.models["up"] = model("up")
    run_all(context, [parse(["list"])])
    out, err = capsys.readouterr()
    assert "up" in out
    assert "gpt, llama" in err
    run_all(context, [parse(["list", "--json"])])
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == ["up"]

"""`what_if` of deployments whose last minutes were made by a replay: the table, the JSON, and what it says of both."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from byzer_magic import errors
from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.commands.parser import parse, split
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.trace import Change, Trace, TracedRequest
from byzer_magic.stat import ArmStat, LimitStat, ModelStat
from tests.fleets import Pretended, model
from tests.unit.routing.test_what_if import load, traced

QUIET = Trace(now=9.0, since=0.0, requests=[], changes=[Change(0.0, 4)], capacity=Capacity(num_workers=4))
BUSY = traced(Capacity(num_workers=3, cpus_per_worker=0.5, gpus_per_worker=1.0))


class Traced(Pretended):
    """A manager of one deployment with a trace."""

    def __init__(self, trace: Trace, **more: Any) -> None:
        super().__init__(model("m", **more))
        self._trace = trace
        self.connection = SimpleNamespace(link=self._link)

    async def named(self, name: str) -> tuple[str, str]:
        return name, ""

    async def _link(self, _alias: str) -> Any:
        return SimpleNamespace(call=self._call)

    async def _call(self, method: str) -> Trace:
        assert method == "trace"
        return self._trace


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    """Returns what the command writes to stdout and to stderr."""

    def run(options: str = "", trace: Trace = BUSY, **more: Any) -> tuple[str, str]:
        context = Context(manager=cast("Any", Traced(trace, **more)), output=Terminal())
        run_all(context, [parse(split(f"what_if --model m {options}"))])
        return tuple(capsys.readouterr())  # type: ignore[return-value]  # of two

    return run


def table(out: str) -> list[dict[str, str]]:
    """Return the rows of the table, by their headings."""
    header, *rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines()[5:]]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_what_if_shows_what_was_measured_replayed_and_predicted(shown: Any) -> None:
    out, err = shown("--num_workers 6")
    measured, replayed, predicted = table(out)
    assert [row["Case"] for row in (measured, replayed, predicted)] == ["Measured", "Replayed", "What if"]
    assert measured["Waiting, p50 / p99"] == replayed["Waiting, p50 / p99"] != predicted["Waiting, p50 / p99"]
    assert (measured["Workers"], predicted["Workers"]) == ("3", "6")
    assert (measured["CPUs reserved"], predicted["CPUs reserved"]) == ("1.5", "3")
    assert (measured["GPUs reserved"], predicted["GPUs reserved"]) == ("3", "6")
    assert measured["Cost"].startswith("$")
    assert "Refused" not in measured, "none was"
    assert "Total time, p50 / p99" not in measured, "an API takes as long as it took"
    assert "Longest wait, s" in out
    assert err.splitlines() == ["Assumed: the API answers more requests at once as fast as it answered these."]


def test_what_if_of_an_engine_of_which_nothing_is_known_shows_both_ends(shown: Any) -> None:
    out, err = shown("--num_workers 1 --worker_concurrency 4", local=True)
    assert [row["Case"] for row in table(out)] == ["Measured", "Replayed", "What if", "What if, in turns"]
    assert all("Total time, p50 / p99" in row for row in table(out)), "with more at once, waits are not all"
    assert "The data do not show how much" in err
    assert json.loads(shown("--num_workers 1 --worker_concurrency 4 --json", local=True)[0])["in_turns"]


def test_what_if_without_changes_shows_how_good_a_replay_is(shown: Any) -> None:
    out, err = shown()
    assert [row["Case"] for row in table(out)] == ["Measured", "Replayed"]
    assert err == ""


def test_what_if_of_twice_the_load_costs_twice_as_much_and_may_be_too_much(shown: Any) -> None:
    found = json.loads(shown("--scale_load 2 --json")[0])
    assert found["predicted"]["requests"] == 2 * found["measured"]["requests"] == 600
    assert found["predicted"]["cost"] == pytest.approx(2 * found["measured"]["cost"])
    assert found["predicted"]["wait_p99"] > 10 * found["measured"]["wait_p99"]
    assert "if the load goes on, waits get longer" in shown("--scale_load 2")[1]


def test_what_if_of_a_limited_queue_shows_who_is_refused(shown: Any) -> None:
    *_, predicted = table(shown("--max_queue 1")[0])
    assert int(predicted["Refused"]) > 0
    assert predicted["Queue, mean / most"].endswith(" / 1")


def test_what_if_without_a_price_has_no_cost(shown: Any) -> None:
    assert "Cost" not in table(shown(cost=None)[0])[0]


def test_what_if_without_requests_says_so(shown: Any) -> None:
    assert shown("--num_workers 2", QUIET) == ("", "m has had no requests in the last 10 min.\n")


def off(trace: Trace) -> Trace:
    """A trace in which requests waited for another reason than that all slots were in use."""
    later = [msgspec.structs.replace(item, waited=item.waited + 5.0) for item in trace.requests]
    return msgspec.structs.replace(trace, requests=later)


def with_some(trace: Trace, *outcomes: str) -> Trace:
    more = [TracedRequest(9.0, 0.0, 0.0, -1, cast("Any", outcome)) for outcome in outcomes]
    return msgspec.structs.replace(trace, requests=[*trace.requests, *more])


@pytest.mark.parametrize(
    ("trace", "more", "words"),
    [
        (traced(Capacity(num_workers=3), arrivals=load(1, 40)), {}, "Too little data for a reliable prediction: 40"),
        (msgspec.structs.replace(BUSY, is_cut=True), {}, "Only the last 20,000 requests are kept"),
        (msgspec.structs.replace(BUSY, changes=[Change(-1.0, 1), Change(50.0, 3)]), {}, "--minutes N."),
        (off(BUSY), {}, "off the measured p99: do not rely on the prediction."),
        (with_some(BUSY, "refused", "left"), {}, "2 requests were refused, gave up or have not ended"),
        (with_some(BUSY, "queued"), {}, "1 request was refused, gave up or has not ended"),
        (BUSY, {"limits": [LimitStat("tpm", 5, 100, "minute")]}, "(--tpm) is not replayed"),
        (BUSY, {"limits": [LimitStat("budget_usd", 5, 5, "deployment")]}, "The budget is used up"),
        (BUSY, {"local": True}, "Assumed: requests take as long as they took"),
        (BUSY, {"local": True}, "more workers do not slow each other down"),
        (traced(Capacity(num_workers=2, worker_concurrency=4), 0.5), {"local": True}, "Assumed, as measured: each"),
    ],
)
def test_what_if_says_how_far_it_can_be_trusted(shown: Any, trace: Trace, more: dict[str, Any], words: str) -> None:
    assert words in shown("--num_workers 6", trace, **more)[1]
    assert words not in shown("--num_workers 6")[1]


def test_what_if_of_a_route_names_its_deployments() -> None:
    context = Context(manager=cast("Any", Traced(BUSY, arms=[ArmStat("a"), ArmStat("b")])), output=Terminal())
    with pytest.raises(errors.CommandError, match="m is a route") as caught:
        run_all(context, [parse(split("what_if --model m --num_workers 2"))])
    assert str(caught.value.hint) == "Choose one of these with --model: a, b."


def test_what_if_of_too_many_requests_is_refused(shown: Any) -> None:
    with pytest.raises(errors.CommandError, match="--scale_load 10000 comes to 3,000,000 requests"):
        shown("--scale_load 10000")


def test_what_if_takes_the_options_of_deploy() -> None:
    spec = parse(split("what_if --model m --worker_concurrency 4 --rpm 60"))
    changed = Capacity(num_workers=3).changed(**spec.changes)  # type: ignore[attr-defined]  # of this command
    assert changed == Capacity(num_workers=3, worker_concurrency=4, rpm=60)


def test_times_of_a_trace_are_those_of_the_samples() -> None:
    stat: ModelStat = model("m")
    from byzer_magic.client.predicting import Observed

    observed = Observed(stat=stat, samples=[], trace=QUIET, at=(now := time.time()))
    assert observed.wall(QUIET.now) == now
    assert observed.wall(4.0) == now - 5.0

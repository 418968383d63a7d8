"""Long work, as lines."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.i18n import using
from byzer_magic.rendering import progress
from byzer_magic.rendering.progress import Deploy, Progress
from byzer_magic.types import Event, Failed, Loading, Placed, Ready, RowProgress
from tests.pages import Page


def deploy(*events: Event) -> Deploy:
    made = Deploy("llama")
    for event in events:
        made.take(event)
    return made


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ((), "llama: requesting resources from Ray · 3 s"),
        ((Placed("n", 7),), "llama: placed (process 7) · 3 s"),
        ((Loading("weights", fraction=0.4),), "llama: worker 0: weights 40% · 3 s"),
        ((Loading("weights", detail="shard 2"),), "llama: worker 0: weights (shard 2) · 3 s"),
        ((Loading("weights"), Ready(2.34, 1, ["chat"])), "llama: ready in 2.3 s - 1 worker, capabilities: chat"),
        ((Ready(2.34, 2, ["chat", "tools"]),), "llama: ready in 2.3 s - 2 workers, capabilities: chat, tools"),
        ((Loading("weights"), Failed({})), "llama: failed · 3 s"),
    ],
)
def test_deploy_shows_one_line(events: tuple[Event, ...], text: str) -> None:
    assert progress.bundle(deploy(*events).lines(3.2))["text/plain"] == text


@pytest.mark.parametrize(
    ("event", "english", "chinese"),
    [
        (Placed("n", 7), "placed (process 7)", "已分配资源（进程 7）"),
        (
            Loading("weights", 1, 0.4, "shard 2"),
            "worker 1: weights (shard 2) 40%",
            "worker 1：weights（shard 2） 40%",
        ),
        (
            Ready(2.34, 1, ["chat"]),
            "ready in 2.3 s - 1 worker, capabilities: chat",
            "已就绪，用时 2.3 秒：1 个 worker，能力：chat",
        ),
        (Failed({}), "failed", "失败"),
    ],
)
def test_event_text_gives_each_stage_a_line(event: Event, english: str, chinese: str) -> None:
    assert progress.event_text(event) == english
    with using("zh"):
        assert progress.event_text(event) == chinese


def test_deploy_lines_limit_loading_workers() -> None:
    made = deploy(*(Loading("weights", worker=number, fraction=0.5) for number in range(12)))
    lines = progress.bundle(made.lines(1))["text/plain"].split("\n")
    assert len(lines) == 9
    assert lines[3] == "llama: worker 3: weights 50% · 1 s"
    assert lines[-1] == "llama: 4 more workers"


def test_deploy_end_keeps_the_first() -> None:
    made = deploy(Ready(1.0, 1, ["chat"]))
    made.end("stopped")
    assert made.lines(9)[0].state == "ready"


def test_bundle_has_a_bar_where_the_fraction_is_known() -> None:
    page = Page(progress.bundle([Progress(what="m", stage="texts", fraction=0.254)])["text/html"])
    assert page.all("progress")[0] == {"max": "100", "value": "25", "aria-label": "m: texts"}
    assert not Page(progress.bundle([Progress(what="m", stage="texts")])["text/html"]).all("progress")
    done = progress.bundle([Progress(what="m", stage="ready", fraction=1.0, state="ready")])["text/html"]
    assert not Page(done).all("progress")


@given(st.text(), st.text(), st.one_of(st.none(), st.floats(-1, 2)), st.sampled_from(sorted(progress.SIGNS)))
def test_bundle_escapes_all_texts(what: str, stage: str, fraction: float | None, state: str) -> None:
    shown = progress.bundle([Progress(what=what, stage=stage, fraction=fraction, seconds=1.0, state=state)])
    assert Page(shown["text/html"]).tags() <= {"style", "div", "span", "strong", "progress"}


def test_deploy_keeps_the_language_of_its_events() -> None:
    made = Deploy("llama")
    with using("zh"):
        made.take(Ready(2.34, 1, ["chat"]))
    assert progress.bundle(made.lines(3))["text/plain"] == "llama: 已就绪，用时 2.3 秒：1 个 worker，能力：chat"


def test_rows_that_a_tape_has_answered_are_not_called_those_of_the_journal() -> None:
    assert "2 from the journal" in progress.words(RowProgress(2, 2, "rows", known=2))
    assert "2 replayed" in progress.words(RowProgress(2, 2, "rows", known=2, replayed=True))

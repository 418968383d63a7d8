"""`%%chat a,b,c` in a real kernel: several models at once, failing ones, judges, tables, interrupts."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.kernel.conftest import Cell, Kernel
from tests.servers.process import Process, received

pytestmark = [pytest.mark.kernel, pytest.mark.ray]
MODELS = {"a": "gpt-4o", "b": "gpt-4o", "voice": "tts-1", "draw": "gpt-image-1.5", "emb": "text-embedding-3-small"}


@pytest.fixture(scope="module")
def deployed(kernel: Kernel, provider: Process) -> Kernel:
    kernel.run(f"KEY = {KEY!r}")
    line = "deploy --pretrained_model_type saas/openai --cpus_per_worker 0.001 --worker_concurrency 4 --infer_params "
    lines = [
        f"{line} saas.base_url={provider.url}/v1 saas.api_key=${{KEY}} saas.model={model} --model {alias}"
        for alias, model in MODELS.items()
    ]
    lines.append(f"{line} saas.base_url={provider.url}/v1 saas.api_key=wrong-key saas.model=gpt-4o --model bad")
    cell = kernel.run("%%byzer\n" + "\n".join(lines))
    assert cell.status == "ok", cell.everything
    return kernel


def columns(cell: Cell) -> str:
    return cell.shown[0]["text/html"].partition("</style>")[2].partition("<style>")[2].partition("</style>")[2]


def states(cell: Cell) -> list[str]:
    return re.findall(r'class="bz-column bz-(\w+)"', cell.shown[0]["text/html"])


def test_columns_answer_at_once_in_one_output(deployed: Kernel) -> None:
    cell = deployed.run("%%chat a,b --out both\nmeet:2 tokens:30@20")
    assert cell.status == "ok", cell.everything
    assert len(cell.shown) == 1
    assert cell.updates >= 2, "painted as they came"
    assert states(cell) == ["done", "done"]
    assert columns(cell).count("TTFT") == 2
    assert "== a ==" in cell.shown[0]["text/plain"]
    output = "print([type(item).__name__ for item in both], [item.model for item in both], both is _chat)"
    assert deployed.run(output).text == "['ChatResult', 'ChatResult'] ['a', 'b'] True\n"
    took = float(deployed.run("print(max(item.timings.total for item in both))").text)
    assert cell.updates <= 20 * (took + 1), "at most twenty times a second"


def test_columns_go_on_when_one_model_fails(deployed: Kernel) -> None:
    cell = deployed.run("%%chat a,bad,b --out all\nhello")
    assert cell.status == "ok", cell.everything
    assert states(cell) == ["done", "failed", "done"]
    assert "saas.api_key" in columns(cell) or "key" in columns(cell)
    assert KEY not in cell.everything
    output = "print([item.error is None for item in all], type(all[1].error).__name__, repr(all[1].text))"
    assert deployed.run(output).text == "[True, False, True] AuthenticationFailed ''\n"


def test_columns_fail_the_cell_when_no_model_answers(deployed: Kernel) -> None:
    cell = deployed.run("%%chat a,b\nfault:429")
    assert cell.status == "error"
    assert "None of a, b answered" in cell.everything
    assert states(cell) == ["failed", "failed"]
    assert "Traceback" not in cell.everything


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%%chat a,nobody\nhi", "nobody"),
        ("%%chat a,a\nhi", "twice"),
        ("%%chat a,\nhi", "missing"),
        ("%%chat a --judge b\nhi", "two or more models"),
        ("%%chat a,b --judge nobody\nhi", "nobody"),
        ("%%chat a,b --judge voice\nhi", "no chat capability"),
        ("%%chat voice,draw --judge a\nhi", "compares texts"),
    ],
)
def test_columns_report_a_mistake_before_anything_is_sent(
    deployed: Kernel, provider: Process, line: str, expected: str
) -> None:
    before = received(provider)
    cell = deployed.run(line)
    assert cell.status == "error"
    assert expected in cell.everything
    assert "bz-column" not in str(cell.shown)
    assert received(provider) == before


def test_columns_frame_has_a_row_per_model(deployed: Kernel) -> None:
    assert deployed.run("%%chat a,bad --df --out table\nhello").status == "ok"
    wanted = ["model", "text", "first_token", "total", "tokens", "tokens_per_second", "cost", "currency", "error"]
    assert deployed.run("print(list(table.columns))").text == f"{wanted}\n"
    output = "print(list(table.model), list(table.text), table.error.isna().tolist(), table is _chat)"
    assert deployed.run(output).text == "['a', 'bad'] ['Echo: hello', ''] [True, False] True\n"


def test_columns_keep_a_session_per_model(deployed: Kernel) -> None:
    deployed.run("%%chat a,b --session s\nsay:one")
    deployed.run("%%chat a,b --session s\ntwo")
    sessions = str(deployed.run("%byzer sessions").shown[0]["text/plain"])
    assert re.search(r"s@a +2", sessions)
    assert re.search(r"s@b +2", sessions)
    assert deployed.run("%chat a,b --session s --reset").status == "ok"
    assert "no sessions" in deployed.run("%byzer sessions").everything


def test_judge_compares_without_knowing_which_model_is_which(deployed: Kernel, provider: Process) -> None:
    cell = deployed.run("%%chat a,bad,b --judge a --out all\nhello")
    assert cell.status == "ok", cell.everything
    assert '<answer id="A">' in deployed.run("print(all.judgement.text)").text
    assert deployed.run(
        "print(sorted(all.letters.items(), key=lambda item: item[0])[0][0], len(all.letters))"
    ).text == ("a 2\n")
    assert "a compares:" in cell.everything


def test_columns_interrupt_stops_all_and_keeps_what_arrived(deployed: Kernel) -> None:
    threading.Timer(1.5, deployed.interrupt).start()
    cell = deployed.run("%%chat a,b --out part\ntokens:2000@50")
    assert cell.status == "error"
    assert "Interrupted" in cell.everything
    assert states(cell) == ["stopped", "stopped"]
    output = "print([item.interrupted for item in part], all(item.text for item in list(part)))"
    assert deployed.run("del all\n" + output).text == "[True, True] True\n"


def test_columns_show_audio_and_images_side_by_side(deployed: Kernel) -> None:
    cell = deployed.run("%%chat a,voice,draw,emb --out all\nhello", timeout=60)
    assert cell.status == "ok", cell.everything
    shown = columns(cell)
    assert states(cell) == ["done"] * 4
    assert "data:audio/mpeg;base64," in shown
    assert "data:image/png;base64," in shown
    assert "<table" in shown


def rows(cell: Cell) -> list[str]:
    return re.findall(r"<tr data-sort=", cell.shown[0]["text/html"])


def test_grid_asks_every_combination_into_one_table(deployed: Kernel, provider: Process) -> None:
    before = received(provider)
    cell = deployed.run(
        "%%chat a,b --grid country=[New York,Japan] tone=[plain] --temperature 0,0.7 --out grid\n"
        "say:{{country}} {{tone}}"
    )
    assert cell.status == "ok", cell.everything
    assert len(cell.shown) == 1
    assert received(provider) - before == 8
    assert len(rows(cell)) == 4
    assert "== b · country=Japan · tone=plain · temperature=0.7 ==" in cell.shown[0]["text/plain"]
    assert "%byzer journal on" in cell.shown[0]["text/plain"]
    output = "print([(r.model, r.text) for r in grid.where(country='Japan', temperature=0)], grid is _chat)"
    assert deployed.run(output).text == "[('a', 'Japan plain'), ('b', 'Japan plain')] True\n"


def test_grid_asks_only_what_is_new_with_the_journal(deployed: Kernel, provider: Process, tmp_path: Path) -> None:
    deployed.run(f"import os; home = os.getcwd(); os.chdir({str(tmp_path)!r})")
    deployed.run("%byzer journal on")
    before = received(provider)
    first = "%%chat a --grid country=[France] --samples 2 --df --out table\nsay:{{country}}"
    assert deployed.run(first).status == "ok"
    assert received(provider) == before + 2
    more = first.replace("[France]", "[Japan,France]")  # in another order
    dry = deployed.run(more.replace("--samples", "--dry_run --samples"))
    assert "4 requests · 2 from the journal" in dry.text
    assert received(provider) == before + 2
    cell = deployed.run(more)
    assert received(provider) == before + 4
    assert "2 from the journal" in str(cell.shown)
    shown = "print(list(table.country), list(table['sample']), list(table.from_journal))"
    assert (
        deployed.run(shown).text == "['Japan', 'Japan', 'France', 'France'] [0, 1, 0, 1] [False, False, True, True]\n"
    )
    deployed.run("%byzer journal off\nos.chdir(home)")


def test_grid_goes_on_when_cells_fail_and_is_judged(deployed: Kernel) -> None:
    cell = deployed.run(
        "%%chat a,bad,b --grid country=[France] --judge a --params temperature=1 --out grid\nsay:{{country}}"
    )
    assert cell.status == "ok", cell.everything
    assert "1 failed" in str(cell.shown)
    assert KEY not in cell.everything
    assert "1 pair of answers, each in both orders: 0 requests" in cell.everything, "equal texts are a tie"
    assert deployed.run("print([item.name for item in grid.rankings[0].standings])").text == "['a', 'b']\n"


def test_grid_interrupt_keeps_what_arrived(deployed: Kernel) -> None:
    threading.Timer(1.5, deployed.interrupt).start()
    cell = deployed.run("%%chat a,b --grid n=[1,2,3,4,5,6] --out part\ntokens:2000@50 {{n}}")
    assert cell.status == "error"
    assert "Interrupted" in cell.everything
    output = "print(len(part), {item.interrupted for item in part}, max(len(item.text) for item in part) > 0)"
    assert deployed.run(output).text == "12 {True} True\n"

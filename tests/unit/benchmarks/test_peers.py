"""The pieces of `make bench-peers`: loads, figures, tables, pages, processes, and the versions of the peers."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loads
import processes
import psutil
import pytest
import tables
from comparison import commands, draw, environments, pages, results, summary
from comparison.measures import Comparison, Sample
from comparison.raw import raw_way, session
from comparison.systems import Missing, Route, systems
from ways import provider

ROOT = Path(__file__).parents[3]
NEWEST_LITELLM = (1, 80, 0)
"""A later release was compromised."""
FLOOR = Sample("load50", "raw", 0, {"requests": 2000, "seconds": 2.0})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The provider of the benchmarks."""
    with provider() as found:
        yield found


@pytest.mark.parametrize("module", [loads, tables, commands, draw, pages], ids=lambda module: module.__name__)
def test_peers_examples_are_true(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


# ---- versions


def test_peers_are_pinned_and_litellm_is_never_newer() -> None:
    pins = [pin for group in environments.PINS.values() for pin in group]
    exact = [re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z]+\])?==(\d+)\.(\d+)\.(\d+)", pin) for pin in pins]
    assert all(exact), "each has one version, not a range"
    versions = {match[1]: tuple(map(int, match.groups()[1:])) for match in exact if match}
    assert versions["litellm"] <= NEWEST_LITELLM


def test_peers_have_the_versions_that_the_product_is_tested_with() -> None:
    tested = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "tests/constraints.txt").read_text(), re.MULTILINE))
    pins = [re.split(r"\W*==|\[", pin) for group in environments.PINS.values() for pin in group]
    assert {name: version for name, *_, version in pins if name in tested} == {
        name: tested[name] for name in ("openai", "ray", "aiohttp", "uvloop")
    }


def test_peers_that_cannot_be_installed_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    (tmp_path / "full").touch()
    monkeypatch.setattr(environments, "CACHE", tmp_path / "full" / "peers")  # no folder can be made below a file
    with systems(url) as started:
        comparison = Comparison(started, ["serve-http", "litellm"], quick=True)
        comparison.open()
        comparison.round(0, ["rest", "load", "streams"])
    assert comparison.samples == []
    assert comparison.missing.keys() == {"serve-handle", "serve-http", "litellm"}
    assert all(why.startswith("not installed: ") for why in comparison.missing.values())


# ---- figures and tables


def test_figures_are_medians_over_rounds_without_those_that_failed() -> None:
    rates = [
        Sample("load0", "ours", number, {"requests": n, "seconds": 2.0}, 0.5) for number, n in enumerate((9, 1, 5))
    ]
    rest = [Sample("rest", "ours", number, {"ms": [float(number)] * 99 + [50.0 * number]}) for number in range(3)]
    failed = Sample("load0", "ours", 3, {}, failed="TimeoutError")
    found = summary.figures_of([*rates, failed, *rest])["ours"]
    assert found == {"load0 rate": 2.5, "load0 per core": 10.0, "rest p50": 1.0, "rest p99": 50.0}


def test_table_compares_with_the_floor_and_leaves_out_what_is_missing() -> None:
    ours = Sample("load50", "ours", 0, {"requests": 1500, "seconds": 2.0})
    figures = summary.figures_of([FLOOR, ours])
    titles = {"raw": "raw", "ours": "ours", "litellm": "LiteLLM"}
    head, *lines = summary.cells(figures, titles)
    assert head == ["", "raw", "ours", "LiteLLM"]
    assert [line[1:] for line in lines if "50 ms" in line[0]] == [["1,000 (1.00)", "750 (0.75)", "-"]]
    assert all(line[1:] == ["-"] * 3 for line in lines if "50 ms" not in line[0])
    chinese = summary.cells(figures, titles, chinese=True)
    assert [line[1:] for line in chinese] == [head[1:], *(line[1:] for line in lines)]
    no_floor = summary.cells(summary.figures_of([ours]), titles)
    assert all(cell == "-" for line in no_floor[1:] for cell in line[1:])


def kept() -> dict[str, Any]:
    about = {"date": "2026-11-27", "machine": "2 x CPU", "load": "", "versions": {"ray": "1"}, "rounds": 3}
    growth = {axis: [{"x": x, "p50 ms": 1.0} for x in (1, 10)] for axis in draw.FIGURES}
    memory = {
        "processes": [("the controller", 70.0), ("raylet, which starts Ray's workers", 30.0)],
        "kernel": {"new": 26.0},
    }
    return {
        "peers": {"about": about, "figures": summary.figures_of([FLOOR]), "missing": {"litellm": "no network"}},
        "commands": {"about": about, "seconds": {"deploy": 2.0}, **memory},
        "growth": {"about": about, **growth},
    }


def test_results_are_written_between_the_marks_of_both_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {language: tmp_path / f"{language}.md" for language in pages.PAGES}
    for language, page in pages.PAGES.items():
        copies[language].write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    drawn: list[Path] = []
    monkeypatch.setattr(pages, "PAGES", copies)
    monkeypatch.setattr(draw, "draw", lambda _, folder: drawn.append(folder))
    pages.write(kept())
    english, chinese = (copies[language].read_text(encoding="utf-8") for language in ("en", "zh"))
    pages.write(kept())
    assert english == copies["en"].read_text(encoding="utf-8"), "written twice, it is the same"
    for text in (english, chinese):
        assert "1,000 (1.00)" in text
        assert "LiteLLM 1.80 |" in text
        assert "2026-11-27" in text
        assert "images/growth-notebooks.png)" in text
    assert "| deploy | 2.00 |" in english
    assert "| all processes of a local Ray with one alias | 100 |" in english
    assert "控制器 | 70 |" in chinese
    assert drawn


def test_every_name_of_commands_and_processes_has_its_chinese() -> None:
    assert {*commands.NAMES.values(), "local Ray up", "fresh Python to its first answer"} <= pages.CHINESE.keys()


def test_results_are_shown_with_what_is_missing_and_when(capsys: pytest.CaptureFixture[str]) -> None:
    pages.shown(kept())
    shown = capsys.readouterr().out
    assert "LiteLLM 1.80: not measured: no network" in shown
    assert len(re.findall(r"^2026-11-27, 2 x CPU; medians of 3 rounds; ray 1", shown, re.MULTILINE)) == 3
    assert re.search(r"^deployments +p50 ms$", shown, re.MULTILINE)


def test_results_of_a_part_replace_those_of_that_part_only(tmp_path: Path) -> None:
    run, path = results.Run(3, quick=False), tmp_path / "peers" / "results.json"
    for part, value in (("peers", 1), ("growth", 2), ("peers", 3)):
        results.keep(part, {"found": value}, run.about({"ray": "1"}), path)
    found = results.load(path)
    assert {part: entry["found"] for part, entry in found.items()} == {"peers": 3, "growth": 2}
    assert found["peers"]["about"]["versions"] == {"ray": "1"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["peers"]["about"]["date"])


def test_growth_is_drawn_into_small_files(tmp_path: Path) -> None:
    figures = {name for _, panels in draw.FIGURES.values() for panel in panels for name in panel.lines.values()}
    points = [{"x": x, **dict.fromkeys(figures, 2.0 * x)} for x in (1, 10, 100)]
    files = draw.draw({"workers": points, "notebooks": points}, tmp_path)
    assert [path.name for path in files] == ["growth-workers.png", "growth-notebooks.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 60_000 for path in files)


# ---- loads and processes


async def test_loads_measure_a_real_provider(url: str) -> None:
    async with session() as client:
        way = raw_way(client, url)
        assert len(await loads.one_by_one(way, 3)) == 3
        load = await loads.in_flight(way, wait_ms=20, seconds=0.1, flight=4)
        streams = await loads.streams(way, count=3, tokens=4, rate=100)
    assert load.requests >= 4
    assert load.p50 >= 20
    assert load.errors == ()
    assert streams.tokens == 12
    assert streams.seconds >= 4 / 100
    assert 0 <= streams.p50 <= streams.p99


async def test_load_that_mostly_fails_is_no_figure() -> None:
    async with session() as client:
        with pytest.raises(ConnectionError, match="requests failed"):
            await loads.in_flight(raw_way(client, "http://127.0.0.1:9/v1"), seconds=60, flight=2)


async def test_streams_that_lack_tokens_are_no_figure() -> None:
    async def way(prompt: str, *, stream: bool = False) -> Any:
        assert (prompt, stream) == ("tokens:2@50", True)
        yield "1 "

    with pytest.raises(ConnectionError, match=r"\[1, 1, 1\]"):
        await loads.streams(way, count=3, tokens=2)


def test_processes_are_found_by_their_mark_and_ended(tmp_path: Path) -> None:
    code = "import os, subprocess; os.setsid(); subprocess.run(['sleep', '60'])"
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, processes.MARKER: tmp_path.name})
    while len(found := processes.marked(tmp_path.name)) < 2 and child.poll() is None:
        pass
    assert child.pid in found
    assert processes.megabytes(child.pid) > 1
    processes.end(found)
    child.wait()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in found)
    assert processes.marked(tmp_path.name) == []
    assert (processes.title(child.pid), processes.megabytes(child.pid), processes.cpu_seconds(child.pid)) == ("", 0, 0)


def test_client_measures_in_a_process_of_its_own_and_leaves_nothing(url: str) -> None:
    with systems(url) as started:
        client = started.client(Route("raw", "ours", ("raw", "{url}"), "alone"))
        assert len(client.do("rest", count=2)) == 2
        assert client.do("load", wait_ms=0, seconds=0.05, flight=2)["requests"]
        assert client.do("streams", count=2, tokens=2)["tokens"] == 4
        with pytest.raises(Missing, match="no_such"):
            client.do("no_such")
        folder = Path(started.environ("alone")["RAY_TMPDIR"])
        assert folder.is_dir()
    assert client.process.poll() == 0
    assert not folder.exists()

"""Logs of processes: the last lines of files of any size."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.runtime.cluster import node


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(node, "session_folder", lambda: tmp_path)
    return tmp_path / "logs" / "worker-aa-bb-4242.err"


def test_the_last_lines_are_found_without_rays_marks(log: Path) -> None:
    log.write_text(":actor_name:pool\none\n:task_name:x\ntwo\nthree")
    assert node.tail(4242, 2) == ["two", "three"]
    assert node.tail(4242, 10) == ["one", "two", "three"]
    assert node.tail(1, 10) == []


def test_lines_across_blocks_are_whole(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "BLOCK_BYTES", 50)
    lines = [f"line {number} é" for number in range(1000)]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for count in (1, 7, 500, 1000, 2000):
        assert node.tail(4242, count) == lines[-count:]


def test_a_huge_log_is_read_from_its_end(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with log.open("wb") as file:
        file.truncate(10**12)  # a hole: to read it all would take hours
        file.seek(0, 2)
        file.write(b"\nlast\n")
    assert node.tail(4242, 1) == ["last"]


def test_a_line_without_end_is_cut(log: Path) -> None:
    log.write_bytes(b"x" * (node.TAIL_BYTES + 100))
    assert [len(line) for line in node.tail(4242, 5)] == [node.LINE_CHARS]

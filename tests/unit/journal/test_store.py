"""The journal's file: what is written is found, by any process, and survives `kill -9`."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from byzer_magic.client import spending
from byzer_magic.errors import JournalError
from byzer_magic.journal import keys, tape
from byzer_magic.journal.bounds import Bounds
from byzer_magic.journal.connecting import connected, make
from byzer_magic.journal.entry import FAILED, Entry, Origin
from byzer_magic.journal.store import WALK_AT_ONCE, Store, project_folder, project_store
from byzer_magic.types import AudioChunk, ChatChunk, ImageItem, Routed, Usage
from tests.waiting import PATIENCE


def entry(key: str = "k", **more: object) -> Entry:
    fields = {"asked": f"asked {key}", "at": time.time(), "alias": "gpt4o", "method": "chat", "prompt": "Why?"}
    return Entry(**{"key": key, **fields, "pieces": [(0.1, ChatChunk("Hello!", finish="stop"))], **more})  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def test_entry_comes_back_as_it_was_written(store: Store) -> None:
    written = entry(
        pieces=[(0.1, Routed("b", [("a", "it is down")])), (0.25, ChatChunk("Hé🙂", usage=Usage(3, 2, 0.5, "USD")))],
        usage=Usage(3, 2, 0.5, "USD"),
        origin=Origin("notebook", "a.ipynb", "cell1"),
        answer="Hé🙂",
        ttft=0.1,
        worker=2,
    )
    number = store.add(written).result(PATIENCE)
    assert store.find("k") == msgspec.structs.replace(written, id=number)


def test_newest_complete_answer_of_a_key_is_found(store: Store) -> None:
    for answer, status in (("old", "complete"), ("new", "complete"), ("half", "interrupted"), ("", FAILED)):
        store.add(entry(answer=answer, status=status)).result(PATIENCE)
    found = store.find("k")
    assert found is not None
    assert found.answer == "new"
    assert store.find("asked k", by="asked") == found
    assert store.has(["k", "other"]) == {"k"}


def test_files_are_closed_to_others(store: Store) -> None:
    store.add(entry(pieces=[(0.0, ImageItem("image/png", bytes(5000)))])).result(PATIENCE)
    for path in store.path.parent.rglob("*"):
        allowed = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert allowed == 0, path
    assert (store.path.parent / ".gitignore").read_text() == "*\n"


def test_media_are_files_by_their_hash_and_go_with_their_last_entry(store: Store) -> None:
    speech = [(0.1 * at, AudioChunk(bytes([at]) * 800, "audio/mpeg")) for at in range(3)]
    first = store.add(entry("a", pieces=speech)).result(PATIENCE)
    store.add(entry("b", pieces=speech, at=time.time() + 100)).result(PATIENCE)
    files = list((store.path.parent / "media").iterdir())
    assert [path.stat().st_size for path in files] == [2400]
    found = store.find("a")
    assert found is not None
    assert found.pieces == speech
    assert store.clear(time.time() + 50) == 1
    assert store.find("a") is None
    assert files[0].exists()
    assert store.clear() == 0
    assert store.clear(time.time() + 200) == 1
    assert not files[0].exists()
    assert first == 1


def test_answer_whose_media_are_gone_is_not_known(store: Store) -> None:
    store.add(entry(pieces=[(0.0, ImageItem("image/png", bytes(5000)))])).result(PATIENCE)
    for path in (store.path.parent / "media").iterdir():
        path.unlink()
    assert store.find("k") is None


def test_oldest_entries_go_when_it_is_too_large_or_too_old(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    noise = [os.urandom(30_000).hex() for _ in range(60)]
    for at, text in enumerate(noise):
        store.add(entry(str(at), answer=text, pieces=[(0.0, ChatChunk(text))])).result(PATIENCE)
    store.add(entry("old", at=time.time() - 3 * 86400)).result(PATIENCE)
    store.close()
    bounded = Store.open(tmp_path, Bounds(megabytes=2, days=2))
    left = bounded.search()
    assert 5 < len(left) < 40
    assert bounded.find("59") is not None
    assert bounded.find("0") is None
    assert bounded.find("old") is None


def test_search_finds_in_prompts_and_answers(store: Store) -> None:
    for key, request, answer in (("a", '"the Invoice"', ""), ("b", "", "an INVOICE"), ("c", "50%", "")):
        store.add(entry(key, request=request, answer=answer)).result(PATIENCE)
    assert [found.key for found in store.search("invoice")] == ["b", "a"]
    assert [found.key for found in store.search("50%")] == ["c"]
    assert [found.key for found in store.search("_")] == []
    assert [found.key for found in store.search(limit=2)] == ["c", "b"]
    assert [found.key for found in store.walk() if found] == ["a", "b", "c"]


def test_what_cannot_be_written_fails_alone(store: Store) -> None:
    bad = store.add(entry("bad", pieces=[(0.0, ChatChunk(extra={"x": object()}))]))
    good = store.add(entry("good"))
    with pytest.raises(JournalError):
        bad.result(PATIENCE)
    assert good.result(PATIENCE)


def test_file_that_is_no_journal_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / ".byzer").mkdir()
    path = tmp_path / ".byzer" / "journal.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 30)
    with pytest.raises(JournalError, match="not a database"):
        Store.open(tmp_path)
    assert path.read_bytes().startswith(b"not a database")


def test_journal_that_cannot_be_made_says_why_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_args: Any, **_more: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(JournalError, match=r"cannot be used: Read-only file system\."):
        Store.open(tmp_path)


def test_project_folder_is_the_nearest_with_a_journal(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert project_folder(inner) == inner.resolve()
    Store.open(tmp_path)
    assert project_folder(inner) == tmp_path.resolve()
    assert project_store(start=inner) is project_store(start=tmp_path)


def test_folders_that_are_closed_or_gone_are_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, name = tmp_path / "inner", str(tmp_path / ".byzer")
    inner.mkdir()
    real = os.stat

    def closed(path: Any, *args: Any, **kwargs: Any) -> Any:  # as for a user who is not root
        if str(path).startswith(name):
            raise PermissionError(errno.EACCES, "closed", str(path))
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", closed)
        assert project_folder(inner) == inner.resolve()
    monkeypatch.chdir(inner)
    inner.rmdir()
    with pytest.raises(JournalError, match="The working directory cannot be used"):
        project_folder()
    assert spending.Wallet().open() is None, "requests are made all the same"


def read(path: Path) -> list[Entry]:
    """Return the entries of a tape."""
    return [tape.entry_at(path, mark.start) for mark in tape.marks(path)]


def test_tape_holds_entries_with_their_media(store: Store, tmp_path: Path) -> None:
    store.add(
        entry(pieces=[(0.0, ImageItem("image/png", bytes(5000))), (0.5, ImageItem(url="https://e.org/x"))])
    ).result(PATIENCE)
    whole = [found for found in store.walk() if found]
    path = tmp_path / "tape.jsonl"
    path.write_bytes(b"".join(tape.lines(whole)))
    assert read(path) == whole
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())  # as editors on Windows save it
    assert read(path) == whole
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(JournalError, match="Line 2"):
        read(path)


WRITER = """
import sys, time
from pathlib import Path
from byzer_magic.journal.store import Store
from byzer_magic.journal.entry import Entry
from byzer_magic.types import ChatChunk
store, name = Store.open(Path(sys.argv[1])), sys.argv[2]
for number in range(100_000):
    key = f"{name} {number}"
    pieces = [(0.0, ChatChunk(key * 50))]
    store.add(Entry(key=key, asked=key, at=time.time(), alias="a", method="chat", pieces=pieces)).result()
    print(key, flush=True)
"""


def test_many_processes_write_at_once_and_are_killed(tmp_path: Path) -> None:
    """What a process was told to be written is there after its end, and the file is whole."""
    told: list[str] = []
    for round_ in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), f"{round_}{name}"],
                stdout=subprocess.PIPE, text=True,
            )
            for name in "abc"
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            told += [writer.stdout.readline().strip() for _ in range(30 + 20 * round_)]
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            told += writer.communicate()[0].splitlines()[:-1]
    store = Store.open(tmp_path)
    assert store.has(told) == set(told)
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert all(found and found.pieces for found in store.walk())


def test_nothing_of_what_was_removed_is_left_in_the_files(store: Store) -> None:
    for number in range(20):
        store.add(entry(str(number), answer=f"private {number}" * 100)).result(PATIENCE)
    files = sorted(store.path.parent.glob("journal.db*"))
    assert any(b"private" in file.read_bytes() for file in files)
    assert store.clear() == 20
    assert not [file for file in files if b"private" in file.read_bytes()]


def test_what_nobody_waits_for_is_written_at_the_end_of_the_process(tmp_path: Path) -> None:
    last = textwrap.dedent(WRITER).replace(".result()", "").replace("100_000", "300")
    subprocess.run([sys.executable, "-c", last, str(tmp_path), "a"], check=True, stdout=subprocess.DEVNULL)
    assert Store.open(tmp_path).count() == 300


def test_key_is_of_what_decides_the_answer() -> None:
    from byzer_magic.types import ChatRequest, Media, Message

    def key(**more: object) -> str:
        turns = [Message("user", [Media("image/png", b"1", name="a.png"), {"type": "text", "text": "what?"}])]
        return keys.key_of("m", keys.canonical(ChatRequest(**{"messages": turns, **more})))  # type: ignore[arg-type]

    other = [Message("user", [Media("image/png", b"2"), {"type": "text", "text": "what?"}])]
    assert key() == key(stream=False, timeout=5.0)
    assert len({key(), key(options={"temperature": 0.5}), key(messages=other), key(options={"seed": 1})}) == 4


def test_who_leaves_before_an_entry_is_written_takes_no_other_with_it(store: Store) -> None:
    async def ask() -> int:
        busy = sqlite3.connect(store.path, isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")  # so that both are in the queue
        leaving, staying = (asyncio.ensure_future(asyncio.wrap_future(store.add(entry(key)))) for key in "ab")
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        busy.execute("COMMIT")
        busy.close()
        return await asyncio.wait_for(staying, PATIENCE)

    assert asyncio.run(ask()) == 2
    assert store.has(["a", "b"]) == {"a", "b"}, "an answer that was paid is kept, whoever waits for it"


def test_entry_that_sqlite_refuses_fails_alone(store: Store) -> None:
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")  # so that those after the first are one transaction
        waiting = [store.add(entry()) for _ in range(2)]
        refused = store.add(entry(sample=2**70))
        waiting += [store.add(entry()) for _ in range(2)]
        busy.execute("COMMIT")
    with pytest.raises(JournalError):
        refused.result(PATIENCE)
    assert [done.result(PATIENCE) for done in waiting] == [1, 2, 3, 4]


def test_names_that_are_not_utf8_are_written(store: Store) -> None:
    name = os.fsdecode(b"\xff.ipynb")
    assert store.add(entry(origin=Origin("notebook", name, "cell1"))).result(PATIENCE)
    found = store.find("k")
    assert found is not None
    assert found.origin.notebook.endswith(".ipynb")


def test_journal_that_was_removed_is_begun_anew(store: Store) -> None:
    store.add(entry("old")).result(PATIENCE)
    shutil.rmtree(store.path.parent)
    store.add(entry("new")).result(PATIENCE)
    assert store.has(["old", "new"]) == {"new"}
    assert Store.open(store.path.parent.parent).has(["new"]) == {"new"}


@pytest.mark.parametrize("damage", [b"", b"\1" * 4999, b"\1" * 5000])
def test_damaged_media_are_not_an_answer_and_are_written_again(store: Store, damage: bytes) -> None:
    picture = entry(pieces=[(0.0, ImageItem("image/png", bytes(5000)))])
    store.add(picture).result(PATIENCE)
    (file,) = (store.path.parent / "media").iterdir()
    file.write_bytes(damage)
    assert store.find("k") is None
    store.add(picture).result(PATIENCE)
    assert (store.find("k") is None) == (len(damage) == 5000)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("pieces", b"\x78nothing"), ("pieces", 7), ("usage", b"\xff\x00"), ("usage", "text"), ("error", "{half"),
        ("error", "7"), ("answer", b"\xff"), ("at", "yesterday"), ("at", 1e300), ("status", "odd"), ("ttft", b""),
        ("notebook", b"\xff"), ("sample", "one"),
    ],
)  # fmt: skip
def test_damaged_entry_takes_no_other_with_it(store: Store, column: str, value: Any) -> None:
    for key in ("bad", "good"):
        store.add(entry(key, answer=key)).result(PATIENCE)
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute(f"UPDATE entries SET {column} = ? WHERE key = 'bad'", (value,))
    damaged: list[int] = []
    readable = [found.key for found in store.search(damaged=damaged)]
    assert (readable, damaged) in [(["good"], [1]), (["good", "bad"], [])], "what is shown needs no pieces"
    assert [found and found.key for found in store.walk()] == [None, "good"], "the others can be exported"
    assert store.find("bad") is None, "it is asked again"
    store.add(entry("bad", answer="again")).result(PATIENCE)
    assert (again := store.find("bad")) is not None
    assert again.answer == "again"


def test_journal_is_opened_while_another_process_writes(tmp_path: Path) -> None:
    """The loop of a kernel cannot wait for it, here to no end; the other one keeps the bounds."""
    Store.open(tmp_path).add(entry()).result(PATIENCE)
    with contextlib.closing(sqlite3.connect(tmp_path / ".byzer" / "journal.db", isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        assert Store.open(tmp_path, Bounds(days=0)).count() == 1
        busy.execute("COMMIT")
    assert Store.open(tmp_path, Bounds(days=0)).count() == 0


def test_more_entries_than_are_read_at_once_are_walked_through(store: Store) -> None:
    for number in range(WALK_AT_ONCE + 1):
        done = store.add(entry(str(number), alias="even" if number % 2 == 0 else "odd"))
    done.result(PATIENCE)
    assert [found.key for found in store.walk() if found] == [str(number) for number in range(WALK_AT_ONCE + 1)]
    assert len(list(store.walk(alias="even"))) == WALK_AT_ONCE // 2 + 1


def test_new_journal_is_opened_by_many_at_once(tmp_path: Path) -> None:
    for round_ in range(20):
        project = tmp_path / str(round_)
        project.mkdir()
        together = threading.Barrier(8)

        def opened(project: Path = project, together: threading.Barrier = together) -> None:
            together.wait(10)
            connected(project / ".byzer" / "journal.db").close()

        make(project / ".byzer" / "journal.db")
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(opened) for _ in range(8)]:
                done.result(60)

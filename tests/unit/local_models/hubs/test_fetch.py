"""Fetching from a hub of the tests, with the packages of Hugging Face and ModelScope themselves."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from byzer_magic.errors import FetchError, MissingExtra
from byzer_magic.local_models import files
from byzer_magic.local_models.hubs import cache, fetch
from byzer_magic.local_models.hubs.choice import Wish
from byzer_magic.local_models.hubs.reference import parse
from byzer_magic.types import Fetched, Loading
from tests.hubs import BIG, TOKEN
from tests.servers.process import Process, noted_after, received

WISH = Wish(free=10**9)
BOTH = pytest.mark.parametrize("hub_name", ["hf", "ms"])
NEEDED = {
    "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
}  # fmt: skip


async def events_of(model: str, environ: Mapping[str, str], enough: int = 0) -> list[Loading | Fetched]:
    """Return what fetching yields; it is interrupted once `enough` bytes are there, where that is not 0."""
    seen: list[Loading | Fetched] = []
    async with aclosing(fetch.fetch(model, environ, WISH)) as events:  # type: ignore[type-var]
        async for event in events:
            seen.append(event)
            if enough and isinstance(event, Loading) and event.fraction and event.fraction * BIG >= enough:
                break
    return seen


async def fetched(model: str, environ: Mapping[str, str]) -> Fetched:
    last = (await events_of(model, environ))[-1]
    assert isinstance(last, Fetched)
    return last


async def failure(model: str, environ: Mapping[str, str]) -> str:
    with pytest.raises(FetchError) as err:
        await events_of(model, environ)
    text = str(err.value)
    assert TOKEN not in text
    assert "Traceback" not in text
    assert err.value.hint
    return text


class Sent(NamedTuple):
    start: int
    end: int


@contextmanager
def large_files_of(hub: Process) -> Iterator[list[Sent]]:
    """The ranges of large files that the hub was asked for in the block."""
    ranges: list[Sent] = []
    before = received(hub)
    yield ranges
    noted = noted_after(hub, before)
    assert not [entry for entry in noted if entry.get("leaked")], "the token was sent to the store"
    ranges += [Sent(*entry["range"]) for entry in noted if "range" in entry]


def parts_of(environ: Mapping[str, str]) -> int:
    """Return the bytes of files that are there in part."""
    return sum(cache.unfinished(one, environ) for one in cache.repositories(environ))


# ---- what is fetched


@BOTH
async def test_fetch_brings_the_files_that_an_engine_needs_and_only_once(
    hub_name: str, hub: Process, hub_environ: dict[str, str]
) -> None:
    model = f"{hub_name}:byzer/tiny-qwen2"
    seen = await events_of(model, hub_environ)
    last = seen[-1]
    assert isinstance(last, Fetched)
    assert last.size == last.fetched > 800_000
    assert {file.path for file in cache.files_in(Path(last.path))} == NEEDED
    assert files.inspect(last.path).architecture == "Qwen2ForCausalLM"
    assert cache.local(model, hub_environ) == Path(last.path)
    told = [event for event in seen if isinstance(event, Loading)]
    assert all(event.worker is None for event in told)
    assert told[-1].fraction == 1
    assert "of 966 kB" in told[-1].detail
    with large_files_of(hub) as ranges:
        again = await fetched(model, hub_environ)
    assert again.path == last.path
    assert again.fetched == 0
    assert not ranges


async def test_preview_fetches_nothing(hub: Process, hub_environ: dict[str, str]) -> None:
    with large_files_of(hub) as ranges:
        found = await fetch.preview("hf:byzer/tiny-qwen2", hub_environ, WISH)
    assert (found.files, found.have) == (len(NEEDED), 0)
    assert found.missing == found.size > 800_000
    assert found.folder == Path(hub_environ["HF_HOME"]) / "hub"
    assert found.free > 0
    assert not ranges
    assert not found.folder.exists()


@BOTH
async def test_token_opens_what_is_gated_and_private(hub_name: str, hub: Process, hub_environ: dict[str, str]) -> None:
    variable = {"hf": "HF_TOKEN", "ms": "MODELSCOPE_API_TOKEN"}[hub_name]
    with large_files_of(hub) as ranges:
        for name in ("gated", "private"):
            assert (await fetched(f"{hub_name}:byzer/{name}", hub_environ | {variable: TOKEN})).fetched == BIG
    assert len(ranges) == 2


async def test_package_of_the_hub_is_named_where_it_is_missing(
    hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for model, package, extra in (
        ("hf:a/b", "huggingface-hub", "hub"), ("ms:a/b", "modelscope-hub", "modelscope"),
    ):  # fmt: skip
        with pytest.raises(MissingExtra, match=package) as err:
            await events_of(model, hub_environ)
        assert f"pip install 'byzer-magic[{extra}]'" in err.value.hint


async def test_fetch_offline_is_what_is_on_this_machine(hub: Process, hub_environ: dict[str, str]) -> None:
    model = "hf:byzer/tiny-qwen2"
    before = await fetched(model, hub_environ)
    asked = received(hub)
    assert await fetched(model, hub_environ | {"HF_HUB_OFFLINE": "1"}) == Fetched(before.path, before.size, 0, 0.0)
    assert received(hub) == asked


@BOTH
async def test_file_outside_of_its_folder_is_none(hub_name: str, hub: Process, hub_environ: dict[str, str]) -> None:
    hub.post("/faults", {"outside": "../../../../escaped-Q2_K.gguf"})
    assert "has no file Q2_K" in await failure(f"{hub_name}:byzer/big-GGUF:Q2_K", hub_environ)


# ---- interruptions


@BOTH
async def test_interrupted_fetch_goes_on_where_it_stopped(
    hub_name: str, hub: Process, hub_environ: dict[str, str]
) -> None:
    model = f"{hub_name}:byzer/big-GGUF"
    hub.post("/faults", {"pause": 0.05})
    await events_of(model, hub_environ, enough=1_000_000)
    kept = parts_of(hub_environ)
    assert 1_000_000 <= kept < BIG
    assert cache.find(parse(model), hub_environ) is None
    await asyncio.sleep(0.3)
    assert parts_of(hub_environ) == kept, "it is stopped"
    hub.post("/faults", {})
    with large_files_of(hub) as ranges:
        last = await fetched(model, hub_environ)
    assert ranges == [Sent(kept, BIG)]
    assert last.fetched == BIG - kept
    assert last.size == BIG
    assert Path(last.path).name == "big-Q4_0.gguf"


@BOTH
async def test_connection_that_breaks_is_made_again(hub_name: str, hub: Process, hub_environ: dict[str, str]) -> None:
    hub.post("/faults", {"cut": 1_500_000, "times": 1})
    with large_files_of(hub) as ranges:
        assert (await fetched(f"{hub_name}:byzer/big-GGUF", hub_environ)).size == BIG
    assert len(ranges) == 2
    assert ranges[1].start > 0


async def test_hub_that_stalls_is_given_up_and_what_came_is_kept(
    hub: Process, hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.post("/faults", {"stall": 2_000_000})
    patient = hub_environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    with pytest.raises(FetchError) as err:
        async with aclosing(fetch.fetch("hf:byzer/big-GGUF", patient, WISH)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Loading) and (event.fraction or 0) * BIG > 1_000_000:
                    monkeypatch.setattr(fetch, "STALL_SECONDS", 0.5)
    assert "has sent no data for 0.5 s" in err.value.message
    assert "it resumes where it stopped" in err.value.hint
    assert parts_of(hub_environ) >= 1_000_000


async def test_update_that_is_interrupted_leaves_the_version_before(
    hub: Process, hub_environ: dict[str, str], repositories: Path
) -> None:
    model = "hf:byzer/changing"
    before = await fetched(model, hub_environ)
    (repositories / "byzer/changing/more.json").write_text("{}")
    other = repositories / "byzer/changing/other-Q8_0.gguf"
    shutil.copy(repositories / "byzer/big-GGUF/big-Q4_0.gguf", other)
    hub.post("/faults", {"pause": 0.05})
    await events_of(f"{model}:Q8_0", hub_environ, enough=1_000_000)
    assert cache.local(model, hub_environ) == Path(before.path)
    hub.post("/faults", {})
    after = await fetched(f"{model}:Q8_0", hub_environ)
    assert cache.local(f"{model}:Q8_0", hub_environ) == Path(after.path)
    assert Path(after.path).parent != Path(before.path).parent


async def test_two_fetches_of_one_model_share_it(hub: Process, hub_environ: dict[str, str]) -> None:
    hub.post("/faults", {"pause": 0.02})
    with large_files_of(hub) as ranges:
        one, other = await asyncio.gather(*[fetched("hf:byzer/big-GGUF", hub_environ) for _ in range(2)])
    assert one.path == other.path
    assert ranges == [Sent(0, BIG)]


async def test_process_that_fetches_ends_with_the_one_that_started_it(
    hub: Process, hub_environ: dict[str, str]
) -> None:
    hub.post("/faults", {"pause": 0.2})
    code = """
import asyncio, os
from byzer_magic.local_models.hubs import fetch
async def main():
    async for event in fetch.fetch("hf:byzer/big-GGUF", os.environ):
        print(event.fraction, flush=True)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], env=hub_environ, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        while not parent.stdout.readline().startswith(b"0.3"):
            pass
        parent.send_signal(signal.SIGKILL)
    now, before = parts_of(hub_environ), -1
    while now != before:
        await asyncio.sleep(0.5)
        now, before = parts_of(hub_environ), now
    assert now < BIG


# ---- refusals, each with the next step


@pytest.mark.parametrize(
    ("model", "more", "expected"),
    [
        ("hf:byzer/gated", {}, ("is gated", "Accept them at https://huggingface.co/byzer/gated, and set HF_TOKEN")),
        ("hf:byzer/gated", {"HF_TOKEN": "hf_other"}, ("is gated", "with the account of the token")),
        ("hf:byzer/private", {}, ("has no repository byzer/private", "If it is private, set HF_TOKEN")),
        ("hf:byzer/private", {"HF_TOKEN": "hf_other"}, ("no repository", "the token's account needs access")),
        ("hf:someone/tiny-qwen2", {}, ("no repository someone/tiny-qwen2", "Did you mean hf:byzer/tiny-qwen2?")),
        ("hf:byzer/tiny-qwen2@v9", {}, ("has no revision v9", "Leave out @v9")),
        ("hf:byzer/big-GGUF:big-Q4_1.gguf", {}, ("no file big-Q4_1.gguf", "Did you mean hf:byzer/big-GGUF:big-Q4_0")),
        ("hf:byzer/tiny-qwen2", {"HF_HUB_OFFLINE": "1"}, ("HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE")),
        ("hf:byzer/tiny-qwen2", {"HF_ENDPOINT": "http://127.0.0.1:9"}, ("cannot be reached", "HF_ENDPOINT to a")),
        ("ms:byzer/gated", {}, ("is gated", "https://modelscope.cn/models/byzer/gated", "MODELSCOPE_API_TOKEN")),
        ("ms:byzer/private", {}, ("has no repository byzer/private", "set MODELSCOPE_API_TOKEN")),
        ("ms:byzer/tiny-qwen2@v9", {}, ("has no revision v9", "Leave out @v9")),
    ],
)  # fmt: skip
async def test_refusal_says_why_and_what_to_do(
    model: str, more: dict[str, str], expected: tuple[str, ...], hub_environ: dict[str, str]
) -> None:
    text = await failure(model, hub_environ | more)
    for part in expected:
        assert part in text


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"status": 500}, "answered with status 500"),
        ({"longer": 5}, "does not have the size"),
        ({"damaged": True}, "is damaged: its checksum"),
    ],
)
@BOTH
async def test_hub_that_fails_is_named_with_the_next_step(
    hub_name: str, faults: dict[str, Any], expected: str, hub: Process, hub_environ: dict[str, str]
) -> None:
    hub.post("/faults", faults)
    text = await failure(f"{hub_name}:byzer/big-GGUF", hub_environ)
    assert expected in text
    assert cache.find(parse(f"{hub_name}:byzer/big-GGUF"), hub_environ) is None
    assert parts_of(hub_environ) == 0, "what is wrong is not gone on with"


async def test_disk_without_room_is_told_before_anything_is_fetched(
    hub: Process, hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 0, 2_000_000))
    with large_files_of(hub) as ranges:
        text = await failure("hf:byzer/big-GGUF", hub_environ)
    assert "needs 3 MB of disk space" in text
    assert "only 2 MB is free" in text
    assert "set HF_HOME" in text
    assert not ranges


@BOTH
async def test_disk_that_fills_up_is_told_and_what_came_is_kept(
    hub_name: str, hub: Process, hub_environ: dict[str, str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))  # as a quota does; processes inherit it
    try:
        text = await failure(f"{hub_name}:byzer/big-GGUF", hub_environ)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is full, or a limit has been reached" in text
    assert {"hf": "HF_HOME", "ms": "MODELSCOPE_CACHE"}[hub_name] in text
    assert (await fetched(f"{hub_name}:byzer/big-GGUF", hub_environ)).fetched < BIG


async def test_folder_that_cannot_be_written_is_named(hub: Process, hub_environ: dict[str, str]) -> None:
    Path(hub_environ["HF_HOME"]).write_text("a file")
    assert Path(hub_environ["HF_HOME"]).name in await failure("hf:byzer/big-GGUF", hub_environ)


async def test_process_that_ends_without_a_word_is_an_error(
    hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.sys, "executable", shutil.which("false"))
    assert "has ended" in await failure("hf:byzer/big-GGUF", hub_environ)

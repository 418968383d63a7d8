"""A tape in place of a cluster: every face is answered from it, at its pace, and commands about deployments say so."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

import byzer_magic as bz
from byzer_magic import cli, errors
from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client import current, structured
from byzer_magic.client.manager import Manager
from byzer_magic.client.model import Model
from byzer_magic.client.replaying import REPLAY
from byzer_magic.client.scope import SCOPE
from byzer_magic.client.tape_connection import paced
from byzer_magic.client.typed import Typed
from byzer_magic.commands.parser import parse, split
from byzer_magic.commands.registry import LISTED, REGISTRY
from byzer_magic.compat.llm import ByzerLLM
from byzer_magic.journal.entry import FAILED, INTERRUPTED, Origin
from byzer_magic.magics.columns import check_any_answered
from byzer_magic.rendering import footer
from byzer_magic.results import ChatResult
from byzer_magic.types import (
    AudioChunk,
    ChatChunk,
    ChatRequest,
    EmbeddingBatch,
    EmbedRequest,
    ImageItem,
    ImageRequest,
    Message,
    Ranking,
    RerankRequest,
    SpeakRequest,
    Usage,
)
from tests.tapes import recorded, written

STREAM = [
    (0.4, ChatChunk("Good ")),
    (0.5, ChatChunk("morn")),
    (0.9, ChatChunk("ing.", finish="stop", usage=Usage(10, 4, cost=0.012, currency="USD"))),
]


def hello(text: str = "hello") -> ChatRequest:
    return ChatRequest(messages=[Message("user", text)])


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """A tape with one request of each kind."""
    vectors = np.arange(4, dtype="<f4")
    entries = [
        recorded("m", hello(), "Good morning.", pieces=STREAM, ttft=0.4, total=1.0, worker=3),
        recorded("m", hello(), "Again.", sample=1),
        recorded("m", hello("limit"), status=FAILED, pieces=[(0.1, ChatChunk("Part"))],
                 error=errors.to_wire(errors.RateLimited("Rate limit exceeded (429).", "Wait.", retry_after=2.0))),
        recorded("m", hello("stop"), status=INTERRUPTED),
        recorded("qwen", ChatRequest(messages=[Message("user", "hello")], options={"lora": "pirate"}), "Ahoy!"),
        recorded("bge", EmbedRequest(texts=["a", "b"]), method="embed",
                 pieces=[(0.1, EmbeddingBatch(0, 2, vectors.tobytes()))]),
        recorded("ranker", RerankRequest(query="q", documents=["a", "b"]), method="rerank",
                 pieces=[(0.1, Ranking([(1, 0.9), (0, 0.1)]))]),
        recorded("tts", SpeakRequest(text="hi"), method="speak",
                 pieces=[(0.1, AudioChunk(b"ab", "audio/mpeg")), (0.2, AudioChunk(b"cd", "audio/mpeg"))]),
        recorded("art", ImageRequest(prompt="a cat"), method="image", pieces=[(0.1, ImageItem("image/png", b"PNG"))]),
    ]  # fmt: skip
    return written(tmp_path, entries)


@pytest.fixture
def replayed(tape: Path) -> Iterator[Path]:
    """Replays the tape in this process, at once."""
    REPLAY.start(str(tape), 0)
    SCOPE.begin(Origin("python"))
    yield tape
    REPLAY.as_set()


def test_every_capability_is_answered_from_the_tape(replayed: Path) -> None:
    model = bz.model("m")
    first = model.chat("hello")
    assert (first.text, first.worker, first.timings.first_token, first.timings.total) == ("Good morning.", 3, 0.4, 1.0)
    assert first.tokens_per_second == pytest.approx(4 * 8 / 13 / 0.5), "as it was recorded"
    assert (first.cost, first.saved) == (0.0, 0.012)
    line = "m · worker 3 · replayed, recorded 2023-11-14 · TTFT 0.40 s · 10 + 4 tokens · 5 tokens/s · 1.00 s · $0.0120"
    assert footer.line(first) == line
    assert model.chat("hello").text == "Again.", "the second answer of the same cell"
    SCOPE.begin(Origin("python"))
    assert "".join(chunk.text for chunk in model.stream("hello")) == "Good morning."
    SCOPE.begin(Origin("python"))
    assert asyncio.run(model.achat("hello")).text == "Good morning."
    assert bz.model("qwen:pirate").chat("hello").text == "Ahoy!"
    assert bz.model("bge").embed(["a", "b"]).tolist() == [[0, 1], [2, 3]]
    assert bz.model("ranker").rerank("q", ["a", "b"]).documents == ["b", "a"]
    assert bz.model("tts").speak("hi").data == b"abcd"
    assert bz.model("art").image("a cat").pictures[0].data == b"PNG"


def test_rows_of_a_frame_are_answered_from_the_tape(tape: Path) -> None:
    vectors = {text: np.full(2, number, "<f4").tobytes() for number, text in enumerate("ab")}
    entries = [recorded("m", hello(f"Classify: {text}"), text.upper()) for text in "ab"]
    entries += [recorded("bge", EmbedRequest(texts=[text]), method="embed", pieces=[(0.1, EmbeddingBatch(0, 2, data))])
                for text, data in vectors.items()]  # fmt: skip
    REPLAY.start(str(written(tape.parent, entries)), 0)
    try:
        frame = pd.DataFrame({"text": ["a", "b", "a"]})
        found = bz.model("m").map(frame, prompt="Classify: {text}", out="label", budget=0.1)
        assert found["label"].tolist() == ["A", "B", "A"], "equal rows have one answer; a budget needs no price"
        found = bz.model("bge").map(frame, prompt="{text}", out="vector")
        assert [list(vector) for vector in found["vector"]] == [[0, 0], [1, 1], [0, 0]]
        with pytest.raises(errors.JournalError, match="no recording of this request"):
            bz.model("m").map(pd.DataFrame({"text": ["a", "c"]}), prompt="Classify: {text}", out="label")
    finally:
        REPLAY.as_set()


def test_an_error_and_a_part_of_an_answer_are_replayed_as_what_they_were(replayed: Path) -> None:
    with pytest.raises(errors.RateLimited, match="429") as limited:
        bz.model("m").chat("limit")
    assert limited.value.details["retry_after"] == 2.0
    assert str(limited.value.partial) == "Part"
    with pytest.raises(errors.JournalError, match="interrupted"):
        bz.model("m").chat("stop")


def test_a_miss_is_an_error_with_the_difference_and_without_secrets(
    replayed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2hunter2")
    with pytest.raises(errors.JournalError) as missed:
        bz.model("m").chat("hello, my key is hunter2hunter2")
    assert "-messages[0].content: hello\n+messages[0].content: hello, my key is ***" in missed.value.message
    for ask in (lambda: bz.model("x").chat("hello"), lambda: bz.model("x").embed("hello")):
        with pytest.raises(errors.JournalError, match="no recording of x; it has art, bge, m, qwen, ranker, tts"):
            ask()
    answers = [ChatResult(model="m", text="fine"), ChatResult(model="n", text="", error=missed.value)]
    with pytest.raises(errors.JournalError):
        check_any_answered(answers)  # type: ignore[arg-type]  # a list of them


def test_deployments_are_not_made_and_not_missed(replayed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET_KEY", raising=False)
    model = bz.deploy("--pretrained_model_type saas/openai --infer_params saas.api_key=${UNSET_KEY} --model m")
    assert (model.chat("hello").text, bz.connect()) == ("Good morning.", str(replayed))
    manager = bz.default_manager()
    assert manager.run(manager.names()) == ["art", "bge", "m", "qwen", "ranker", "tts"]
    assert manager.runs("m")
    assert not manager.runs("x")
    assert manager.run(manager.stats())[0].capabilities == ["image"]
    bz.undeploy("m")
    assert not manager.shutdown()
    assert manager.run(manager.logs("m", 10)) == []
    with pytest.raises(errors.CommandError, match=r"tape\.jsonl is replayed"):
        manager.room()


REPLAYED = [row for row in REGISTRY.values() if row.replayed]


@pytest.mark.parametrize("row", REPLAYED, ids=lambda row: row.name)
def test_commands_about_deployments_say_what_is_replayed(
    replayed: Path, row: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for example in (each for each in row.spec.examples if "--file" not in each):  # which is read first
        run_all(Context(manager=bz.default_manager(), output=Terminal()), [parse(split(example))])
    said = capsys.readouterr().err
    expected = "Replaying" if row.replayed == LISTED else "not deployed" if "deploy" in row.name.split() else "nothing"
    assert [line for line in said.splitlines() if expected not in line or "tape.jsonl" not in line] == []


def test_every_command_about_a_cluster_has_something_in_its_place() -> None:
    goes_on = {"query", "chat", "easy chat", "sessions", "map"}
    needy = {row.name for row in REGISTRY.values() if "ray_address" in row.spec.__dataclass_fields__}
    assert needy - {row.name for row in REPLAYED} == goes_on


def test_replay_of_the_settings_and_of_the_command(
    tape: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(line: str) -> None:
        run_all(Context(manager=Manager(), output=Terminal()), [parse(split(line))])

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # as `jupyter execute` does
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("BYZER_REPLAY", "tape.jsonl")
    monkeypatch.setenv("BYZER_REPLAY_SPEED", "0")
    try:
        assert Model("m", Manager()).chat("hello").text == "Good morning."
        run("replay")
        run("replay off")
        assert Manager().connection.connected is False
        run("replay")
        run(f"replay {tape} --speed 0")
        assert Manager().connection.connected is True
        monkeypatch.setenv("BYZER_REPLAY", "../tap.jsonl")
        REPLAY.as_set()
        with pytest.raises(errors.JournalError, match=r"tap\.jsonl does not exist") as missing:
            Model("m", Manager()).chat("hello")
        assert "tape.jsonl" in missing.value.hint
        run("replay off")
    finally:
        REPLAY.as_set()
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in said] == ["Replaying", "Replaying", "Nothing", "Replaying", "Replaying"]


def test_a_shell_and_code_for_byzer_llm_are_answered_from_the_tape(
    tape: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BYZER_REPLAY", str(tape))
    monkeypatch.setenv("BYZER_REPLAY_SPEED", "0")
    monkeypatch.setattr(current, "default_manager", Manager)
    try:
        assert cli.main(["deploy", "--model", "m", "--pretrained_model_type", "saas/openai"]) == 0
        assert cli.main(["query", "--model", "m", "--query", "hello"]) == 0
        said = capsys.readouterr()
        assert (said.out, "m: not deployed" in said.err) == ("Good morning.\n", True)
        assert cli.main(["deploy", "--file", "models/of the author.yml"]) == 0, "readers of a tape do not have it"
        assert "of the author.yml: not deployed" in capsys.readouterr().err
        assert cli.main(["query", "--model", "m", "--query", "helo"]) == 1
        assert "+messages[0].content: helo" in capsys.readouterr().err
        llm = ByzerLLM()
        assert not llm.is_model_exist("other")
        assert llm.deploy("", "saas/openai", "m", {"saas.api_key": "${UNSET_KEY}"})["model_name"] == "m"
        assert llm.chat_oai([{"role": "user", "content": "hello"}], model="m")[0].output == "Good morning."
    finally:
        REPLAY.as_set()


def test_a_model_in_another_process_replays_the_same_tape(replayed: Path) -> None:
    sent = pickle.dumps(bz.model("m"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_ask, (sent,)) == "Good morning."


def _ask(sent: bytes) -> str:
    model: Model = pickle.loads(sent)
    return model.chat("hello").text


@pytest.mark.parametrize(
    ("speed", "queued", "times"),
    [(1, 0.0, [0.4, 0.5, 0.9]), (2, 0.0, [0.2, 0.25, 0.45]), (1, 0.4, [0.0, 0.1, 0.5]), (0, 0.0, [0.0, 0.0, 0.0])],
    ids=["as recorded", "twice", "without the queue", "at once"],
)
def test_items_come_at_their_recorded_pace(speed: float, queued: float, times: list[float]) -> None:
    now = [100.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    async def arrivals() -> list[float]:
        items = paced(STREAM, speed, queued, clock=lambda: now[0], sleep=sleep)
        return [now[0] - 100.0 async for _item in items]

    assert asyncio.run(arrivals()) == pytest.approx(times)


def test_a_slow_reader_does_not_add_to_the_pace() -> None:
    now, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    async def read() -> None:
        async for _item in paced(STREAM, 1, clock=lambda: now[0], sleep=sleep):
            now[0] += 0.3

    asyncio.run(read())
    assert slept == [0.4], "the others were late already"


def test_rows_that_had_failed_and_schemas_that_were_refused_are_replayed(tape: Path) -> None:
    class Mood(pydantic.BaseModel):
        mood: str

    refused = {"status": FAILED, "error": errors.to_wire(errors.BadRequest("That is refused."))}
    told = [structured.with_text(hello(f"Classify: {text}").messages, Typed(Mood).instruction) for text in "ab"]
    plain = [ChatRequest(messages=messages) for messages in told]
    entries = [recorded("m", request, '{"mood": "good"}') for request in plain]
    entries += [recorded("m", structured.with_schema(plain[0], Typed(Mood)), **refused)]
    entries += [recorded("bge", EmbedRequest(texts=[text]), method="embed", **refused) for text in "ab"]
    entries += [recorded("bge", EmbedRequest(texts=["c"]), method="embed",
                         pieces=[(0.1, EmbeddingBatch(0, 2, np.ones(2, "<f4").tobytes()))])]  # fmt: skip
    REPLAY.start(str(written(tape.parent, entries)), 0)
    try:
        frame = pd.DataFrame({"text": ["a", "b", "c"]})
        found = bz.model("bge").map(frame, "{text}")
        assert found.embedding_error.notna().tolist() == [True, True, False]
        found = bz.model("m").map(frame.iloc[:2], "Classify: {text}", schema=Mood)
        assert found.mood.tolist() == ["good", "good"], "only the first one was asked with the schema"
    finally:
        REPLAY.as_set()

"""A model over the rows of a frame."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest

from byzer_magic import errors
from byzer_magic.catalog import prices
from byzer_magic.client import journaling
from byzer_magic.client.model import Model
from byzer_magic.client.pricing import Priced
from byzer_magic.runtime.transport.messages import ModelIdentity
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatChunk, EmbeddingBatch, Ranking, Request, TranscriptChunk, Usage
from tests.answering import Answering


class Review(pydantic.BaseModel):
    label: Literal["pos", "neg"]
    stars: int


def echo(request: Any) -> str | Exception:
    text = request.messages[-1].content
    return errors.BadRequest("That is refused.") if "bad" in text else f"Echo: {text[:30]}"


class Deployed(Answering):
    """A deployment of a model with a price, or of one that has none."""

    title = ""
    digest = ""
    """Identifies the model; without it there is no journal."""

    async def identity(self, _alias: str, _since: float | None = None) -> ModelIdentity | None:
        return ModelIdentity(digest=self.digest, kind="saas/openai", title="m") if self.digest else None

    async def ask(self, alias: str, request: Request) -> AsyncIterator[Any]:
        """Ask as `Manager.ask` does: with the journal around it."""
        store, plain = journaling.store_for(self), functools.partial(super().ask, alias, request)
        async for item in journaling.asked(self, store, alias, request, "", plain) if store else plain():
            yield item

    async def stat(self, alias: str) -> ModelStat:
        found = await super().stat(alias)
        return msgspec.structs.replace(
            found, kind="saas/openai", title=self.title, currency="USD" if self.title else ""
        )

    async def price(self, alias: str) -> Priced:
        return Priced(price=prices.find("saas/openai", self.title))


def model(*answers: Any, **more: Any) -> Model:
    return Model("m", Deployed(*answers, **more))


def priced(answer: str) -> Model:
    """A model whose responses cost as gpt-4o's do."""
    price = prices.find("saas/openai", "gpt-4o")
    assert price

    def chunks_of(request: Any) -> list[ChatChunk]:
        tokens = Usage(len(request.messages[-1].content) // 4, len(answer) // 4)
        return [ChatChunk(answer, finish="stop", usage=price.on(tokens))]

    manager = Deployed(chunks_of)
    manager.title = "gpt-4o"
    return Model("m", manager)


def sent(found: Model) -> list[Any]:
    assert isinstance(found.manager, Answering)
    return found.manager.requests


def test_map_keeps_index_columns_and_the_frame_itself() -> None:
    frame = pd.DataFrame({"text": ["a", "bad", None, "😀", "", "x" * 2_000_000], "n": range(6)}, index=list("fedcba"))
    before = frame.copy()
    found = model(echo).map(frame, "Say {text}", out="label")
    assert list(found.columns) == ["text", "n", "label", "label_error"]
    assert found.index.tolist() == list("fedcba")
    assert found.label.fillna("-").tolist() == [
        "Echo: Say a", "-", "-", "Echo: Say 😀", "Echo: Say ", "Echo: Say " + "x" * 26,
    ]  # fmt: skip
    assert found.label_error.fillna("-").tolist() == [
        "-", "BadRequest: That is refused.", "The cell in column text is missing.", "-", "-", "-",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(frame, before)


def test_map_takes_odd_frames() -> None:
    frame = pd.DataFrame([[1, "x", "y"], [2, "z", "w"]], columns=[0, "same", "same"], index=[7, 7])
    found = model(echo).map(frame, "{0}", out="answer")
    assert found.columns.tolist() == [0, "same", "same", "answer", "answer_error"]
    assert found.answer.tolist() == ["Echo: 1", "Echo: 2"]
    assert found.index.tolist() == [7, 7]
    with pytest.raises(errors.CommandError, match="several columns same"):
        model(echo).map(frame, "{0}", out="same")
    for short in (pd.Series([0.1, np.nan], dtype="f4"), pd.Series([0.1, None], dtype="Float32")):
        prices_ = model(echo).map(short, "{value}")
        assert prices_.response.fillna("-").tolist() == ["Echo: 0.1", "-"], "and not 0.10000000149011612"
    with pytest.raises(errors.CommandError, match="prompt"):
        model(echo).map(frame, frame)
    with pytest.raises(errors.CommandError, match=r"The rows are a Table.*\n.*to_pandas"):
        model(echo).map(pa.table({"text": ["a"]}), "{text}")
    empty = model(echo).map(frame.iloc[:0], "{0}", out="answer")
    assert (len(empty), list(empty.columns)[-2:]) == (0, ["answer", "answer_error"])
    assert model(echo).map(pd.Series(["a"]), "{value}").response.tolist() == ["Echo: a"]
    again = model("new").map(found, "{0}", out="answer")
    assert again.answer.tolist() == ["new", "new"]


def test_map_fills_typed_columns_and_asks_again_once() -> None:
    asked = model('{"label": "pos"}', '{"label": "pos", "stars": 5}')
    found = asked.map(pd.DataFrame({"text": ["a"]}), "Classify: {text}", schema=Review)
    assert found.dtypes.astype(str).tolist()[1:3] == ["category", "Int64"]
    assert found[["label", "stars"]].to_dict("records") == [{"label": "pos", "stars": 5}]
    assert len(sent(asked)) == 2
    never = model("no idea").map(pd.DataFrame({"text": ["a"]}), "Classify: {text}", schema=Review)
    assert never.map_error[0].startswith("MalformedResponse: m did not respond with a valid Review")


def test_map_embeds_rows_together_and_a_refused_one_alone_fails() -> None:
    def answer(request: Any) -> Any:
        if any("bad" in text for text in request.texts):
            return errors.BadRequest("That is refused.")
        return [EmbeddingBatch(0, 2, np.array([[len(text), 1] for text in request.texts], "<f4").tobytes())]

    asked = model(answer, capabilities=("embed",))
    texts = [f"{'x' * (number % 5)}{number}" for number in range(99)] + ["bad", None, "0"]
    found = asked.map(pd.DataFrame({"text": texts}), "{text}")
    assert [cell[0] for cell in found.embedding[:99]] == [len(text) for text in texts[:99] if text]
    assert found.embedding[101].tolist() == [1, 1]
    assert found.embedding_error.notna().sum() == 2
    assert len(sent(asked)) < 15
    assert found.attrs["byzer"]["embedding"]["model"] == "m"


def test_map_ranks_transcribes_and_says_what_a_capability_needs(tmp_path: Any) -> None:
    def order(request: Any) -> list[Any]:
        scores = sorted(
            ((index, float(len(text))) for index, text in enumerate(request.documents)), key=lambda p: -p[1]
        )
        return [Ranking(scores)]

    ranked = model(order, capabilities=("rerank",))
    frame = pd.DataFrame({"q": ["a", "b"], "docs": [["x", "yyy"], None]})
    found = ranked.map(frame, "{q}", documents="docs")
    assert [item["document"] for item in found.ranking[0]] == ["yyy", "x"]
    assert "docs is missing" in found.ranking_error[1]
    assert len(ranked.map(frame, "{q}", documents=["one", "two"]).ranking[1]) == 2
    with pytest.raises(errors.CommandError, match="rerank needs documents"):
        ranked.map(frame, "{q}")
    (tmp_path / "a.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + bytes(28))
    heard = model([TranscriptChunk("hello")], capabilities=("transcribe",))
    found = heard.map(pd.DataFrame({"file": [str(tmp_path / "a.wav"), "/none.wav", " "]}), audio="file", out="text")
    assert found.text.fillna("-").tolist() == ["hello", "-", "-"]
    assert found.text_error[2] == "The cell in column file is missing."
    assert "none.wav" in found.text_error[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "{txet}"}, "not a column"),
        ({"prompt": "{text}", "image": "photo"}, "image is 'photo', which is not a column"),
        ({"prompt": "{text}", "image": "a photo"}, "which is not a column.\nThe columns: text"),
        ({"prompt": '{"x"}'}, "which is not a column.\nWrite {{ and }} for braces"),
        ({"prompt": "{text}", "out": ["a"]}, "out is .*, a list, not a string"),
        ({"prompt": "{text}", "capability": pd.DataFrame()}, "capability is .*, a DataFrame, not a string"),
        ({"prompt": "{text}", "concurrency": 0}, "concurrency is 0"),
        ({"prompt": "{text}", "budget": -1}, "budget is -1"),
        ({"prompt": "{text}", "concurrency": "8"}, "concurrency is '8', which is not a number"),
        ({"prompt": "{text}", "capability": "chats"}, "not a capability"),
        ({"prompt": "{text}", "documents": ["a"], "schema": Review}, "does not take documents"),
        ({}, "chat needs prompt"),
        ({"prompt": "{text}", "temperature": float("nan")}, "temperature is nan"),
        ({"prompt": "{text}", "budget": 1.0}, "The price of m is unknown"),
    ],
)
def test_map_checks_before_anything_is_asked(arguments: dict[str, Any], message: str) -> None:
    asked = model(echo)
    with pytest.raises(errors.CommandError, match=message):
        asked.map(pd.DataFrame({"text": ["a"]}), **arguments)
    assert sent(asked) == []
    with pytest.raises(errors.CommandError, match="not a DataFrame"):
        asked.map(["a"], "{text}")


def test_map_raises_the_error_of_all_rows_with_what_is_done() -> None:
    answers = iter(["one", "two"])
    asked = model(lambda _request: next(answers, None) or errors.NotDeployed("m is not deployed."))
    with pytest.raises(errors.NotDeployed) as caught:
        asked.map(pd.DataFrame({"text": range(100)}), "{text}", concurrency=1)
    assert caught.value.partial.response.tolist()[:2] == ["one", "two"]
    assert caught.value.partial.response.isna().sum() == 98
    assert len(sent(asked)) == 3


def test_map_stops_at_its_budget() -> None:
    texts = pd.DataFrame({"text": ["x" * 4_000] * 1_000})
    with pytest.warns(RuntimeWarning, match="The budget is spent"):  # a script shows no progress
        found = priced("y" * 400).map(texts, "{text}", budget=0.05, concurrency=16)
    answered = int(found.response.notna().sum())
    spent = answered * (1_000 * 2.5 + 100 * 10) / 1e6
    assert 0.045 < spent <= 0.05
    assert found.response_error.notna().sum() == 0
    assert found.attrs["byzer"]["response"]["unanswered"] == 1_000 - answered
    whole = priced("y" * 400).map(texts.iloc[:10], "{text}", budget=0.05)
    assert whole.response.notna().all()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder, with a journal of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(journaling, "JOURNAL", journaling.Journal())
    yield tmp_path
    journaling.JOURNAL.turn(on=None)


def journaled(*answers: Any, **more: Any) -> Model:
    """A new process's model: what it is asked is counted from 0."""
    manager = Deployed(*answers, **more)
    manager.digest = "gpt-4o at example.com"
    return Model("m", manager)


@pytest.mark.usefixtures("project")
def test_map_pays_no_row_twice() -> None:
    texts = pd.DataFrame({"text": [f"text {number % 40}" for number in range(100)]})
    first = journaled(echo)
    found = first.map(texts, "Say {text}", out="o", concurrency=8)
    assert found.o.tolist() == [f"Echo: Say text {number % 40}" for number in range(100)]
    assert len(sent(first)) == 40
    estimate = journaled(echo).map(pd.concat([texts, texts + "!"]), "Say {text}", dry_run=True)
    assert (estimate.known, estimate.equal, estimate.to_ask) == (100, 60, 40)
    second = journaled(echo)
    pd.testing.assert_frame_equal(second.map(texts, "Say {text}", out="o"), found)
    assert sent(second) == []
    fresh = journaled("another")
    assert set(fresh.map(texts, "Say {text}", out="o", fresh=True).o) == {"another"}
    assert len(sent(fresh)) >= 40
    apart = journaled(echo)
    apart.map(texts.iloc[:3], "Say {text}", journal=False)
    assert len(sent(apart)) == 3


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("err", "asked", "failed"),
    [(errors.ContentRefused("no"), 1, 6), (errors.DeadlineExceeded("late"), 1, 6), (errors.ProviderError("odd"), 2, 1)],
)
def test_equal_rows_fail_together_for_what_is_in_them(err: errors.ByzerError, asked: int, failed: int) -> None:
    answers = iter([err])
    equal = journaled(lambda _request: next(answers, "So."))
    found = equal.map(pd.DataFrame({"text": ["same"] * 6}), "Say {text}", concurrency=6)
    assert found.response_error.notna().sum() == failed
    assert len(sent(equal)) == asked


@pytest.mark.usefixtures("project")
def test_map_asks_again_only_what_has_failed() -> None:
    texts = pd.DataFrame({"text": [f"text {number}" for number in range(50)]})
    first = journaled(lambda request: errors.BadRequest("no") if "7" in request.messages[-1].content else "yes")
    assert first.map(texts, "Say {text}").response_error.notna().sum() == 5
    second = journaled("yes")
    assert second.map(texts, "Say {text}").response.tolist() == ["yes"] * 50
    assert len(sent(second)) == 5


@pytest.mark.usefixtures("project")
def test_map_embeddings_are_known_text_by_text() -> None:
    def answer(request: Any) -> list[EmbeddingBatch]:
        vectors = np.array([[len(text), ord(text[-1])] for text in request.texts], "<f4")
        return [EmbeddingBatch(0, 2, vectors.tobytes(), usage=Usage(len(request.texts), 0, 0.001, "USD"))]

    def embedding() -> Model:
        return journaled(answer, capabilities=("embed",))

    texts = pd.DataFrame({"text": [f"text {number % 90}" for number in range(200)]})
    first = embedding()
    found = first.map(texts, "{text}").embedding
    asked = [text for request in sent(first) for text in request.texts]
    assert sorted(asked) == sorted(set(texts.text))
    second = embedding()
    more = pd.concat([pd.DataFrame({"text": ["new"]}), texts.iloc[::-1]])
    again = second.map(more, "{text}").embedding
    assert [request.texts for request in sent(second)] == [["new"]]
    assert [cell.tolist() for cell in again[1:]] == [cell.tolist() for cell in found[::-1]]
    entries = list(journaling.JOURNAL.store(second.manager.settings).search())
    assert len(entries) == 91
    assert sum(entry.cost or 0 for entry in entries) == pytest.approx(0.001 * (len(sent(first)) + 1))


def test_map_interrupted_returns_what_is_done(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project
    lines: list[str] = []
    asked = journaled(echo)
    real = asked.manager.run

    def interrupted(work: Any) -> Any:
        found = real(work)
        if lines_of(work) == "Run.run":
            raise KeyboardInterrupt
        return found

    def lines_of(work: Any) -> str:
        return str(work.__qualname__)

    monkeypatch.setattr(asked.manager, "run", interrupted)
    monkeypatch.setattr(asked.manager.reporter, "say", lines.append)
    found = asked.map(pd.DataFrame({"text": ["a", "b"]}), "{text}")
    assert found.response.tolist() == ["Echo: a", "Echo: b"]
    assert "Interrupted. 2 of 2 rows" in lines[-1]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("same_size", [True, False])
def test_embeddings_of_a_deployment_that_is_updated_meanwhile_are_not_known_as_those_of_the_model_before(
    same_size: bool,
) -> None:
    def embedding(digest: str, answer: Any) -> Model:
        found = journaled(answer, capabilities=("embed",))
        found.manager.digest = digest  # type: ignore[attr-defined]
        return found

    def of(request: Any, size: int) -> list[EmbeddingBatch]:
        return [EmbeddingBatch(0, size, np.full((len(request.texts), size), size, "<f4").tobytes())]

    def updated(request: Any) -> list[EmbeddingBatch]:
        if len(sent(asked)) < 3:
            return of(request, 2)
        asked.manager.digest = "new"  # type: ignore[attr-defined]
        return of(request, 2 if same_size else 3)

    asked = embedding("old", updated)
    texts = pd.DataFrame({"text": [f"text {number}" for number in range(256)]})
    found = asked.map(texts, "{text}", concurrency=1)
    assert [len(cell) for cell in found.embedding] == [2] * 128 + [2 if same_size else 3] * 128
    assert found.embedding_error.isna().all()
    again = embedding("old", lambda request: of(request, 2))
    again.map(texts, "{text}")
    assert sum(len(request.texts) for request in sent(again)) == 128


@pytest.mark.usefixtures("project")
def test_rows_of_a_type_are_known_also_where_the_provider_refuses_schemas() -> None:
    def refuses(request: Any) -> str | Exception:
        return errors.BadRequest("Unknown: response_format") if "response_format" in request.options else answer

    answer, texts = '{"label": "pos", "stars": 5}', pd.DataFrame({"text": list("abc")})
    for provider in (answer, refuses):
        journaled(provider).map(texts, "Classify: {text}", schema=Review)
        gone = journaled(errors.ProviderUnavailable("The provider is gone."))
        assert gone.map(texts, "Classify: {text}", schema=Review, dry_run=True).known == 3
        assert gone.map(texts, "Classify: {text}", schema=Review).stars.tolist() == [5, 5, 5]
        assert sent(gone) == []
        journaling.JOURNAL.store(gone.manager.settings).clear()


@pytest.mark.usefixtures("project")
def test_rows_that_are_known_need_no_budget() -> None:
    texts = pd.DataFrame({"text": ["x" * 4_000 + str(number) for number in range(5)]})
    first = priced("y" * 400)
    first.manager.digest = "gpt-4o"  # type: ignore[attr-defined]
    assert first.map(texts, "{text}").response.notna().all()
    second = priced("y" * 400)
    second.manager.digest = "gpt-4o"  # type: ignore[attr-defined]
    assert second.map(texts, "{text}", budget=1e-6).response.notna().all()
    assert sent(second) == []


def test_cell_that_cannot_be_written_is_an_error_of_its_row_also_with_a_budget() -> None:
    frame = pd.DataFrame({"thing": [{"a": 1}, {(1, 2): 3}, {"b": 2}]})
    found = priced("yes").map(frame, "{thing}", budget=1.0)
    assert found.response.fillna("-").tolist() == ["yes", "-", "yes"]
    assert found.response_error[1].startswith("TypeError: keys must be str")
    assert model(echo).map(frame, "{thing}", dry_run=True).to_ask == 2


def test_columns_of_arguments_may_have_numbers_as_names() -> None:
    found = model([TranscriptChunk("hello")], capabilities=("transcribe",)).map(
        pd.DataFrame([["/none.wav", 1]]), audio=0, out="text"
    )
    assert "none.wav" in found.text_error[0]


class Shouted(pydantic.BaseModel):
    label: Literal["pos", "neg"]
    stars: int

    @pydantic.field_serializer("stars", "label", when_used="unless-none")
    def louder(self, value: Any) -> str:
        return f"{value}!"


def test_map_keeps_values_that_do_not_fit_their_column() -> None:
    found = model('{"label": "pos", "stars": 5}').map(pd.DataFrame({"text": ["a", None]}), "{text}", schema=Shouted)
    assert found[["label", "stars"]].iloc[0].tolist() == ["pos!", "5!"]
    assert found.map_error.notna().tolist() == [False, True]

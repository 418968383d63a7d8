"""A grid being asked, with models that answer by a function; and its judge."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.client import journaling
from byzer_magic.commands.parser import parse_chat
from byzer_magic.errors import BadRequest, CommandError, RequestError
from byzer_magic.i18n import using
from byzer_magic.magics.chat import Chats
from byzer_magic.magics.grid import judging
from byzer_magic.magics.kept import Interrupted
from byzer_magic.results import ChatResult
from byzer_magic.results.grid import Combination, Grid
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatRequest, Dispatched, Request
from tests.answering import Answer, Answering, chunks
from tests.fleets import model


class Models(Answering):
    """Deployments that answer with `answer(alias, request)`; notes samples, and how many requests ran at once."""

    def __init__(self, slots: int = 3) -> None:
        super().__init__("")
        self.asked: list[tuple[str, ChatRequest, int | None]] = []
        self.running: dict[str, int] = {}
        self.most = 0
        self.slots = slots

    def answer(self, alias: str, request: ChatRequest) -> Answer:
        prompt = request.messages[-1].content
        if alias == "judge":
            assert "[[tie]]" in str(request.messages[0].content)
            texts = re.findall(r'<answer id="(\w)">\n(.*?)\n</answer>', str(prompt), re.DOTALL)
            best = max(texts, key=lambda item: len(item[1]))  # it likes long answers
            return f"[[B]] or [[A]]? Best: [[{best[0]}]]"
        heat = request.options.get("temperature", 0)
        return f"{prompt}{'!' * round(10 * heat)}" + (" indeed" if alias == "b" else "")

    async def ask(self, alias: str, request: Request) -> AsyncIterator[Any]:
        assert isinstance(request, ChatRequest)
        self.asked.append((alias, request, journaling.HOW.get().sample))
        self.running[alias] = self.running.get(alias, 0) + 1
        self.most = max(self.most, self.running[alias])
        try:
            await asyncio.sleep(0)
            yield Dispatched(0, 0.0)
            answer = self.answer(alias, request)
            if isinstance(answer, Exception):
                raise answer
            for chunk in chunks(str(answer)):
                yield chunk
        finally:
            self.running[alias] -= 1

    async def stat(self, alias: str) -> ModelStat:
        return model(alias, workers=1, concurrency=self.slots, currency="")


class Output:
    """Notes what is shown."""

    shows_media = False

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Sequence[dict[str, Any]]] = []

    def say(self, text: str) -> None:
        self.said.append(str(text))

    text = say

    def table(self, rows: Sequence[dict[str, Any]], _empty: str) -> None:
        self.shown.append(rows)

    def tables(self, several: Sequence[Sequence[dict[str, Any]]]) -> None:
        self.shown += several


def ran(line: str, prompt: str, models: Models | None = None) -> tuple[Any, Output, Models]:
    output, variables = Output(), dict[str, Any](people=["Ada", "Bob"])
    talk = Chats(SimpleNamespace(user_ns=variables), output)  # type: ignore[arg-type]
    models = models or Models()
    talk.chat(models, parse_chat(line), prompt)
    return variables.get("_chat"), output, models


def test_grid_asks_each_combination_with_its_options_and_sample() -> None:
    found, output, models = ran(
        "a,b --grid who=people params.seed=[1] --temperature 0,0.5 --samples 2 --system 'You know {{who}}.'",
        "Hi {{who}}",
    )
    assert len(found) == len(models.asked) == 2 * 2 * 2 * 2
    sent = {
        (alias, request.messages[0].content, request.messages[1].content, request.options["temperature"], sample)
        for alias, request, sample in models.asked
    }
    assert len(sent) == 16
    assert ("b", "You know Bob.", "Hi Bob", 0.5, 1) in sent
    assert all(request.options["seed"] == 1 for _alias, request, _sample in models.asked)
    assert [item.text for item in found.where(who="Bob", temperature=0.5, model="b")] == ["Hi Bob!!!!! indeed"] * 2
    assert found.where(nothing=1) == []
    assert output.said[-1].startswith("16 of 16 answered")
    assert "== b · who=Bob · seed=1 · temperature=0.5 · sample=1 ==\nHi Bob!!!!! indeed" in "\n".join(output.said)


def test_grid_has_no_more_requests_at_once_than_slots() -> None:
    models = Models(slots=3)
    ran("a --grid n=range(40)", "{{n}}", models)
    assert models.most == 3
    assert len(models.asked) == 40


def test_grid_goes_on_when_one_combination_fails() -> None:
    class Failing(Models):
        def answer(self, alias: str, request: ChatRequest) -> Answer:
            return BadRequest("No.") if "Bob" in str(request.messages[-1].content) else "yes"

    found, _output, _models = ran("a --grid who=people", "{{who}}", Failing())
    assert [(item.text, item.error is None) for item in found] == [("yes", True), ("", False)]
    with pytest.raises(RequestError, match="None of a answered"):
        ran("a --grid who=[Bob]", "{{who}}", Failing())


def test_grid_interrupt_keeps_what_has_arrived_and_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def interrupt(_self: Output, text: str) -> None:
        said.append(text)
        if len(said) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Output, "text", interrupt)
    output, variables = Output(), dict[str, Any]()
    talk = Chats(SimpleNamespace(user_ns=variables), output)  # type: ignore[arg-type]
    models = Models(slots=1)

    with pytest.raises(Interrupted):
        talk.chat(models, parse_chat("a --grid n=range(500)"), "{{n}}")
    found = variables["_chat"]
    assert len(found) == 500
    assert [item.text for item in found[:3]] == ["0", "1", "2"]
    assert found[-1].interrupted
    assert len(models.asked) < 500


def test_grid_frame_has_a_column_for_all_that_varies() -> None:
    frame, _output, _models = ran("a,b --grid who=people params.seed=[1,2] --max_tokens 5,9 --df", "{{who}}")
    wanted = [
        "who",
        "model",
        "temperature",
        "seed",
        "max_tokens",
        "sample",
        "text",
        "cost",
        "currency",
        "ttft",
        "total",
    ]
    assert list(frame.columns) == [*wanted, "prompt_tokens", "tokens", "error", "from_journal"]
    assert len(frame) == 16
    assert list(frame.seed.unique()) == [1, 2]
    assert not frame.from_journal.any()
    frame, _output, _models = ran("a --grid who=people --temperature 0.3 --df", "{{who}}")
    assert set(frame.temperature) == {0.3}


def test_dry_run_asks_nothing() -> None:
    found, output, models = ran("a,b --grid who=people --samples 2 --dry_run", "{{who}}")
    assert (found, models.asked) == (None, [])
    assert output.shown[0][1] == {"who": "Ada", "sample": "1", "a": "to ask", "b": "to ask"}
    assert output.said == ["8 requests · price unknown: a, b"]
    _found, output, _models = ran("a --dry_run", "hi")
    assert output.said == ["1 request · price unknown: a"]


def test_large_grid_says_before_what_it_takes() -> None:
    _found, output, _models = ran("a --grid n=range(51)", "{{n}}")
    assert output.said[0] == "51 requests · price unknown: a"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_judge_ranks_models_and_options_apart(lang: str) -> None:
    with using(lang):
        found, output, models = ran("a,b --grid who=[1,2,3,4] --temperature 0,0.5 --judge judge", "Hi {{who}}")
    by_model, by_options = found.rankings
    assert [(item.name, item.wins, item.losses) for item in by_model.standings] == [("b", 8, 0), ("a", 0, 8)]
    assert [item.name for item in by_options.standings] == ["temperature=0.5", "temperature=0"]
    judged = [request for alias, request, _sample in models.asked if alias == "judge"]
    assert len(judged) == 2 * 16
    assert all(str(request.messages).isascii() for request in judged), "a tape holds on screens of all languages"
    assert len(found.judgements) == 16
    assert len(output.shown) == 2
    if lang == "en":
        assert "judge compares 16 pairs of answers, each in both orders: 32 requests" in output.said[-2]
        assert output.shown[0][0]["win rate"] == f"{by_model.standings[0].win_rate:.0%}"


def test_judge_who_likes_a_place_decides_nothing() -> None:
    class First(Models):
        def answer(self, alias: str, request: ChatRequest) -> Answer:
            return "[[A]]" if alias == "judge" else super().answer(alias, request)

    found, _output, _models = ran("a,b --grid who=people --judge judge", "{{who}}", First())
    assert {item.score for item in found.judgements} == {0.5}
    assert [item.rank for item in found.rankings[0].standings] == [1, 1]


def test_judge_compares_at_most_so_many_pairs_and_not_what_is_equal() -> None:
    _found, output, models = ran("a,b --grid n=range(40) --judge judge --comparisons 5", "{{n}}")
    assert sum(alias == "judge" for alias, _request, _sample in models.asked) == 10
    assert "judge compares 5 of 40 pairs of answers" in "".join(output.said)
    found, _output, models = ran("a --grid who=people --temperature 0,0.01 --judge judge", "{{who}}")
    assert sum(alias == "judge" for alias, _request, _sample in models.asked) == 0
    assert [(item.wins, item.ties) for item in found.rankings[0].standings] == [(0, 2), (0, 2)]


def test_judge_that_fails_leaves_the_answers() -> None:
    class Refusing(Models):
        def answer(self, alias: str, request: ChatRequest) -> Answer:
            return BadRequest("No judge.") if alias == "judge" else super().answer(alias, request)

    with pytest.raises(RequestError, match="judge has compared nothing: No judge"):
        ran("a,b --grid who=people --judge judge", "{{who}}", Refusing())


def test_judge_needs_something_to_compare() -> None:
    with pytest.raises(CommandError, match="two or more models, or an option"):
        ran("a --grid who=people --judge judge", "{{who}}")


def test_pairs_differ_in_one_thing_and_are_spread_over_all_competitors() -> None:
    asked = [Combination({"n": n}, {"temperature": heat}) for n in range(3) for heat in (0, 1) for _model in "ab"]
    grid = Grid((ChatResult(model="ab"[place % 2], text=str(place)) for place in range(len(asked))), asked)
    found, total = judging.pairs(grid, 100)
    assert len(found) == total == 3 * (2 + 2)
    for pair in found:
        one, other = grid.combinations[pair.row], grid.combinations[pair.other]
        assert one.variables == other.variables
        assert (one.options == other.options) == (pair.by == "model")
    some, _total = judging.pairs(grid, 4)
    assert sorted(pair.by for pair in some) == ["model", "model", "options", "options"]
    assert judging.pairs(grid, 4)[0] == some, "the same ones each time, so that the journal knows them"

"""`--judge` of a grid: answers that differ in one thing are compared two by two, and that makes rankings.

Each pair is shown in both orders, since judges prefer the first or the second place (Zheng et al. 2023,
https://arxiv.org/abs/2306.05685): who wins in one order only has half of a win.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from byzer_magic.actions.output import Output
from byzer_magic.client import estimates
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.estimates import Wanted
from byzer_magic.client.manager import Manager
from byzer_magic.errors import CommandError, RequestError
from byzer_magic.i18n import gettext, lazy_gettext as _, ngettext
from byzer_magic.magics import columns, judge_prompts
from byzer_magic.magics.columns import Asking, text_of
from byzer_magic.magics.grid import run
from byzer_magic.magics.kept import Interrupted
from byzer_magic.magics.repaint import Repainted, empty
from byzer_magic.magics.show import STATUS_SECONDS
from byzer_magic.rendering.amounts import duration
from byzer_magic.rendering.answer import grid as rendering
from byzer_magic.results import ChatResult
from byzer_magic.results.grid import Grid, Judgement
from byzer_magic.results.ranking import Outcome, Ranking, ranked

VERDICT = re.compile(r"\[\[\s*(A|B|tie)\s*\]\]", re.IGNORECASE)
SCORES = {"a": 1.0, "b": 0.0, "tie": 0.5}
"""What a verdict is worth for the answer that was shown first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to compare."""

    by: str
    """In what they differ: `model`, or `options`."""
    row: int
    """The place of the first among the results."""
    other: int
    first: str
    """The names that are ranked."""
    second: str


def check(manager: Manager, name: str, grid: run.Prepared) -> None:
    """Check that a deployment can compare the answers of a grid.

    Raises:
        NotDeployed: nothing is deployed as this alias.
        CommandError: there is nothing to compare, it has no chat capability, or the results are not texts.
    """
    if len(grid.aliases) < 2 and not grid.combinations[0].options:
        raise CommandError(
            _("--judge needs two or more models, or an option with several values."),
            _("Example: %%chat a,b --grid country=[France,Japan] --judge c"),
        )
    columns.check_judge(manager, name, [cell.exchange for cell in grid.cells if cell.exchange is not None])


def pairs(grid: Grid, most: int) -> tuple[list[Pair], int]:
    """Return what is to be compared, and how many pairs there are in all.

    Two answers to the same prompt are compared when they differ in the model or in the options, not in both: so a
    ranking of the models says nothing about options. Of too many, each two competitors have as many as others.

    Args:
        grid: the results.
        most: pairs.
    """
    known: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in _all(grid):
        known.setdefault((pair.by, *sorted((pair.first, pair.second))), []).append(pair)  # type: ignore[arg-type]
    total = sum(map(len, known.values()))
    seed = hashlib.sha256(json.dumps([dict(one.variables) for one in grid.combinations], default=str).encode()).digest()
    mixed = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    for several in known.values():
        mixed.shuffle(several)
    in_turn = (pair for some in itertools.zip_longest(*known.values()) for pair in some if pair is not None)
    return list(itertools.islice(in_turn, most)), total


def _all(grid: Grid) -> Iterator[Pair]:
    groups: dict[tuple[str, int], list[int]] = {}
    for place, (result, asked) in enumerate(zip(grid, grid.combinations, strict=True)):
        if not result.error and not result.interrupted and text_of(result):
            key = json.dumps({name: repr(value) for name, value in asked.variables.items()}), asked.sample
            groups.setdefault(key, []).append(place)
    for places in groups.values():
        for one, other in itertools.combinations(places, 2):
            models = grid[one].model, grid[other].model
            options = options_name(grid, one), options_name(grid, other)
            if models[0] != models[1] and options[0] == options[1]:
                yield Pair(by="model", row=one, other=other, first=models[0], second=models[1])
            elif models[0] == models[1] and options[0] != options[1]:
                yield Pair(by="options", row=one, other=other, first=options[0], second=options[1])


def options_name(grid: Grid, place: int) -> str:
    """Return the options of a result as one name."""
    options = grid.combinations[place].options
    return ", ".join(f"{name}={rendering.value_text(value)}" for name, value in options.items())


def verdict(text: str) -> float | None:
    """Return what a judge has decided for the answer that it was shown first; None where it is not to be read.

    Example:
        >>> verdict("B is shorter. [[B]]"), verdict("[[A]] or [[tie]]: [[tie]]"), verdict("A")
        (0.0, 0.5, None)
    """
    found = VERDICT.findall(text)
    return SCORES[found[-1].lower()] if found else None


def score_of(in_order: str, swapped: str) -> float | None:
    """Return the score of the first of two answers from the judge's texts in both orders; None for an unreadable one.

    Example:
        >>> score_of("[[A]]", "[[B]]"), score_of("[[A]]", "[[A]]")
        (1.0, 0.5)
    """
    one, other = verdict(in_order), verdict(swapped)
    return None if one is None or other is None else (one + 1 - other) / 2


def rankings(judgements: Sequence[Judgement]) -> list[Ranking]:
    """Return the rankings that follow from judgements: of the models, and of the options."""
    found = []
    for by in ("model", "options"):
        known = [item for item in judgements if item.by == by and item.score is not None]
        if known:
            found.append(ranked(by, [Outcome(item.first, item.second, item.score or 0.0) for item in known]))
    return found


def judge(manager: Manager, out: Output, name: str, grid: Grid, prompts: Sequence[str], most: int) -> None:
    """Have a model compare the answers of a grid, and show the rankings, which the grid has then.

    Args:
        manager: runs the requests.
        out: shows them.
        name: the judge.
        grid: the results.
        prompts: what each was asked.
        most: pairs to compare.

    Raises:
        Interrupted: by Ctrl-C; the rankings are of what was compared.
        RequestError: the judge has compared nothing.
    """
    chosen, total = pairs(grid, most)
    if not chosen:
        out.say(gettext("There are no two answers to compare."))
        return
    texts = [text_of(result) for result in grid]
    asked = [pair for pair in chosen if texts[pair.row] != texts[pair.other]]  # the same text is a tie

    async def opened() -> list[Exchange]:
        system = judge_prompts.PAIR_SYSTEM
        return [
            await aconverse(manager, name, columns.quoted_messages(system, prompts[pair.row], shown))
            for pair in asked
            for shown in _shown(texts[pair.row], texts[pair.other])
        ]

    exchanges = manager.run(opened())
    _announce(manager, out, name, chosen, total, exchanges)
    asking = [Asking(name, exchange) for exchange in exchanges]
    began = time.monotonic()

    def rate() -> None:
        grid.judgements = [*_judged(asked, asking), *(_same(pair) for pair in chosen if pair not in asked)]
        grid.rankings = rankings(grid.judgements)

    _ask(manager, out, name, asking, rate)
    _conclude(out, name, grid, asking, time.monotonic() - began)


def _shown(one: str, other: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return two answers by their letters, in both orders."""
    return {"A": one, "B": other}, {"A": other, "B": one}


def _announce(
    manager: Manager, out: Output, name: str, chosen: Sequence[Pair], total: int, exchanges: Sequence[Exchange]
) -> None:
    """Say how many requests the comparison takes, and what they may cost."""
    found = manager.run(estimates.estimated(manager, [Wanted(name, exchange.request) for exchange in exchanges]))
    pairs_text = gettext("{count} of {total} pairs of answers", count=len(chosen), total=total)
    if len(chosen) == total:
        pairs_text = ngettext("{count} pair of answers", "{count} pairs of answers", count=total)
    cost = run.estimate_line(found)
    out.say(gettext("{judge} compares {pairs}, each in both orders: {cost}", judge=name, pairs=pairs_text, cost=cost))


def _ask(manager: Manager, out: Output, name: str, asking: Sequence[Asking], rate: Callable[[], None]) -> None:
    """Ask the judge everything; an interrupt stops it."""

    def draw() -> dict[str, str]:
        done = sum(item.result is not None for item in asking)
        if done == len(asking):
            return empty()
        text = gettext("{judge}: {done} of {count} comparisons", judge=name, done=done, count=len(asking))
        return {"text/plain": text}

    turns = [(item, 0) for item in asking]
    board = Repainted(draw, after=STATUS_SECONDS) if out.shows_media else None
    columns.finish(manager, out, asking, run.in_turn(manager, turns, board), board, lambda _item: "", rate)


def _conclude(out: Output, name: str, grid: Grid, asking: Sequence[Asking], seconds: float) -> None:
    results = [item.result for item in asking if item.result is not None]
    if not grid.rankings and (failed := next((item.error for item in results if item.error), None)) is not None:
        raise RequestError(_("{judge} has compared nothing: {error}", judge=name, error=failed.message), failed.hint)
    unread = sum(item.score is None for item in grid.judgements)
    parts = [name, ngettext("{count} comparison", "{count} comparisons", count=len(grid.judgements) - unread)]
    parts += [gettext("{count} without a verdict", count=unread)] if unread else []
    parts += filter(None, [rendering.amounts([(item.cost, item.currency) for item in results]), duration(seconds)])
    parts.append(gettext("win rate: the chance to win against another one, by Bradley-Terry; intervals by bootstrap"))
    out.tables([rendering.standings(item) for item in grid.rankings])
    out.say(" · ".join(parts))
    if any(item.interrupted and not item.error for item in results):
        raise Interrupted(_("Interrupted: the ranking is of what was compared."))


def _judged(asked: Sequence[Pair], asking: Sequence[Asking]) -> Iterator[Judgement]:
    """Yield the judgements of the pairs that the judge has seen in both orders."""
    for place, pair in enumerate(asked):
        both = [item.result for item in asking[2 * place : 2 * place + 2]]
        texts = [item.text if isinstance(item, ChatResult) and not item.interrupted else "" for item in both]
        yield Judgement(
            by=pair.by, row=pair.row, other=pair.other, first=pair.first, second=pair.second,
            score=score_of(texts[0], texts[1]), texts=(texts[0], texts[1]),
        )  # fmt: skip


def _same(pair: Pair) -> Judgement:
    return Judgement(
        by=pair.by, row=pair.row, other=pair.other, first=pair.first, second=pair.second, score=0.5, texts=("", "")
    )

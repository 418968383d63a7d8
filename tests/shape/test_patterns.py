"""Every pattern takes time in proportion to the text, whatever the text is.

All patterns of the package are found, in modules and inside calls, and each is attacked with repetitions of what it is
made of. So a new pattern need not be entered anywhere, unless its call has it from a variable.
"""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from re import _constants as op, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from byzer_magic.backends.dashscope import schema as dashscope
from byzer_magic.backends.http import terms, verdicts
from byzer_magic.backends.local.vllm import progress
from byzer_magic.backends.saas.volcengine import backend as voices, schema as volcengine
from byzer_magic.rendering.answer import formulas
from byzer_magic.routing import token_counts
from tests.budgets import OverBudget, seconds_of, within

ROOT = Path(__file__).parents[2]
FILES = [path for path in sorted((ROOT / "byzer_magic").rglob("*.py")) if "import re\n" in path.read_text("utf-8")]
TEXTS: dict[str, list[str]] = {
    "errors._by_pattern": [verdicts.TOO_LONG, *(pattern for _error, pattern in dashscope.PATTERNS)],
    "terms.learn": list(terms.WITH_OPTION.values()),
    "progress.stage": [pattern for pattern, _text in progress._STAGES],
    "token_counts._in_piece": [
        token_counts._WORDS,
        token_counts._LONG_WORDS,
        *(pattern for pattern, _tokens in token_counts._CHARACTERS),
    ],
    "schema.from_response": [words for words, _status in volcengine._SENTENCES],
    "texts.extract_code": [],  # the caller's own
    "backend._voice": [pattern for pattern, _voice in voices._VOICES],
}
"""The patterns of calls that have theirs from a variable, by module and function."""
BOUNDED: dict[str, Callable[[str], object]] = {
    "rendering.answer.formulas.EQUATION": lambda text: formulas._tree(text, display=True),
}
"""Patterns that are not linear, and what cuts a text before they see it: that is attacked in their place."""
SIZES = (10_000, 100_000, 1_000_000)
RATIO = 30
"""Ten times the text may take so many times as long; with a quadratic pattern it is a hundred."""
LEAST = 0.004
"""Seconds of CPU time that count as nothing."""
HARMLESS = 0.5
"""Seconds that any of these texts may take: times below tell little of a busy machine."""
BUDGET = 3.0
"""Seconds for all attacks on a pattern; they take a tenth of one."""

Pattern = re.Pattern[Any]
Attack = tuple[str, str]
"""What a text begins with, and what it repeats."""


# ---- all patterns


def compiled(value: Any, depth: int = 3) -> Iterator[Pattern]:
    """Yield the patterns in a variable of a module."""
    if isinstance(value, re.Pattern):
        yield value
        return
    inner: list[Any] = []
    if isinstance(value, Mapping):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = list(value)
    elif is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name, None) for field in fields(value)]
    for each in inner if depth else ():
        yield from compiled(each, depth - 1)


def text_of(node: ast.expr) -> str | bytes | None:
    """Return the pattern of a call, with a word for what a variable adds to it; None if all of it is a variable."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "word" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) else None


def flags_of(call: ast.Call) -> int:
    names = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute) and node.attr.isupper()}
    return functools.reduce(lambda flags, name: flags | getattr(re, name, 0), sorted(names), 0)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of a function of `re` that has a pattern, and the function that it is in."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for scope in functions:
        for node in ast.walk(scope):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=how)) if how not in (
                    "escape",
                    "compile",
                ):
                    yield scope.name, node


@functools.cache
def sources() -> str:
    return "\n".join(path.read_text("utf-8") for path in FILES)


def is_anchored(name: str, source: str) -> bool:
    """Return whether a pattern is only matched, at one place, and never searched for."""
    uses = re.findall(rf"(?<![\w.\"']){name}(?:\[\w+\])?(?:\.(\w+)\(|(?!\w|:? .*?= |\.pattern\b))", source)
    uses += re.findall(rf"\.{name}\.(\w+)\(", source)
    return bool(uses) and set(uses) <= {"match", "fullmatch"}


@functools.cache
def patterns() -> dict[str, tuple[Pattern, bool]]:
    """Return all patterns by name, and whether each is only matched."""
    found: dict[str, tuple[Pattern, bool]] = {}
    for path in FILES:
        source = path.read_text("utf-8")
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        short = name.removeprefix("byzer_magic.")
        for variable, value in vars(importlib.import_module(name)).items():
            of_variable = list(compiled(value))
            if not of_variable or not re.search(rf"^{variable}\b.* = ", source, re.MULTILINE):
                continue  # imported
            anchored = is_anchored(variable, source if variable.startswith("_") else sources())
            for number, pattern in enumerate(of_variable):
                found[f"{short}.{variable}{number or ''}"] = pattern, anchored
        for function, call in calls(ast.parse(source)):
            assert isinstance(call.func, ast.Attribute)
            text = text_of(call.args[0])
            key = f"{short.rpartition('.')[2]}.{function}"
            texts = [text] if text is not None else TEXTS[key]
            for number, each in enumerate(texts):
                pattern = re.compile(each, flags_of(call))
                found[f"{short}.{function}:{call.lineno}.{number}"] = pattern, "match" in call.func.attr
    return found


# ---- attacks

CHARACTERS = 'a0 \n-A_"{<=:/\\\u4e00'


def is_in(items: list[Any], character: str) -> bool:
    negated = any(kind is op.NEGATE for kind, _value in items)
    return negated is not bool(re.match(as_class([item for item in items if item[0] is not op.NEGATE]), character))


def as_class(items: list[Any]) -> str:
    """Return the items of a set as a pattern."""
    categories = {op.CATEGORY_SPACE: r"\s", op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_DIGIT: r"\d",
                  op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W"}  # fmt: skip
    parts = []
    for kind, value in items:
        if kind is op.LITERAL:
            parts.append(f"\\U{value:08x}")
        elif kind is op.RANGE:
            parts.append(f"\\U{value[0]:08x}-\\U{value[1]:08x}")
        else:
            parts.append(categories[value])
    return f"[{''.join(parts)}]"


def pieces(tree: Any, chance: random.Random) -> Iterator[tuple[str, bool]]:  # noqa: C901 - a case for each kind
    """Yield the characters of a text that a pattern may match, and whether each is a literal.

    Lookarounds may make it fail, which is as well.
    """
    for kind, value in tree:
        if kind is op.LITERAL:
            yield chr(value), True
        elif kind is op.NOT_LITERAL:
            yield chance.choice([each for each in CHARACTERS if ord(each) != value]), False
        elif kind is op.ANY:
            yield chance.choice("a 0"), False
        elif kind is op.IN:
            own = [chr(of[0] if which is op.RANGE else of) for which, of in value if which in (op.LITERAL, op.RANGE)]
            yield chance.choice([each for each in [*own, *CHARACTERS] if is_in(value, each)] or ["a"]), False
        elif kind is op.BRANCH:
            yield from pieces(chance.choice(value[1]), chance)
        elif kind is op.SUBPATTERN:
            yield from pieces(value[3], chance)
        elif kind is op.ATOMIC_GROUP:
            yield from pieces(value, chance)
        elif kind is op.ASSERT:
            yield from pieces(value[1], chance)
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            least, _most, inner = value
            for _time in range(min(least or chance.choice((0, 1, 1)), 40)):
                yield from ((character, False) for character, _is_literal in pieces(inner, chance))


def parts_of(tree: Any, chance: random.Random) -> list[str]:
    """Return such a text in parts: words of literals, and single characters."""
    found: list[str] = []
    for is_literal, group in itertools.groupby(pieces(tree, chance), key=lambda piece: piece[1]):
        characters = [character for character, _is_literal in group]
        found += ["".join(characters)] if is_literal else characters
    return found


def attacks(pattern: Pattern, most: int = 60) -> list[Attack]:
    """Return attacks on a pattern: its parts, beginnings, ends and all of it, over and over."""
    chance = random.Random(repr(pattern.pattern))
    tree = _parser.parse(pattern.pattern, pattern.flags)
    found: dict[Attack, None] = {}
    for _text in range(12):
        parts = parts_of(tree, chance)[:60]
        found["", "".join(parts)] = None
        for at in sorted(chance.sample(range(len(parts)), min(8, len(parts)))):
            start, end = "".join(parts[:at]), "".join(parts[at:])
            both = "".join(parts[at : at + 2])
            found.update(dict.fromkeys((("", parts[at]), (start, parts[at]), ("", start), ("", both), ("", end))))
    able = [attack for attack in found if attack[1]]
    return chance.sample(able, min(most, len(able)))


def text_for(attack: Attack, size: int) -> str:
    start, repeated = attack
    return f"{start}{repeated * (size // len(repeated))}\0"


def search(pattern: Pattern, text: str, *, anchored: bool) -> None:
    subject: Any = text.encode("utf-8", "replace") if isinstance(pattern.pattern, bytes) else text
    if anchored:
        pattern.match(subject)
        pattern.fullmatch(subject)
        return
    for _match in pattern.finditer(subject):
        pass


def growth(work: Callable[[str], object], attack: Attack) -> str:
    """Return how the time of an attack grows, if it grows faster than its text; else nothing."""
    before = max(LEAST, seconds_of(functools.partial(work, text_for(attack, SIZES[0]))))
    for size in SIZES[1:]:
        text = text_for(attack, size)
        took = seconds_of(functools.partial(work, text))
        if took > max(HARMLESS, RATIO * before):
            took = seconds_of(functools.partial(work, text), tries=2)
        if took > max(HARMLESS, RATIO * before):
            return f"{took:.2f} s for {size // 1000} kB, {before:.3f} s for a tenth: {attack}"
        if took > LEAST and took < RATIO / 2 * before:
            return ""  # long enough to tell
        before = max(took, LEAST)
    return ""


def verdict(work: Callable[[str], object], pattern: Pattern, budget: float = BUDGET) -> str:
    """Return what is wrong with the time of a pattern; nothing if it is linear."""
    worst = attack = ("", "")
    try:
        with within(budget):
            slowest = -1.0
            for attack in attacks(pattern):
                took = seconds_of(functools.partial(work, text_for(attack, 4_000)))
                worst, slowest = (attack, took) if took > slowest else (worst, slowest)
            attack = worst
            return growth(work, worst)
    except OverBudget:
        return f"it does not end: {attack}"


def test_time_of_each_pattern_grows_with_the_text() -> None:
    assert len(patterns()) > 150
    found = {}
    for name, (pattern, anchored) in patterns().items():
        work = BOUNDED.get(name) or functools.partial(search, pattern, anchored=anchored)
        found[name] = verdict(work, pattern)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("text", "anchored"),
    [
        (r"\S*\*{3,}", False),
        (r"(a+)+b", True),
        (r"\{\{\s*(.*?)\s*\}\}", False),
        (r"<[^>]*>", False),
        (r"[\w.]*key[\w.]*=", True),
    ],
)
def test_a_pattern_that_is_not_linear_is_found(text: str, anchored: bool) -> None:
    pattern = re.compile(text)
    assert verdict(functools.partial(search, pattern, anchored=anchored), pattern, budget=0.3)


def test_bounded_patterns_exist() -> None:
    assert BOUNDED.keys() <= patterns().keys()

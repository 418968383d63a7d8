"""The small examples of CONTRIBUTING.md work. That of a provider has tests in tests/providers."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.actions import inspect
from byzer_magic.commands import registry, spec
from byzer_magic.routing import policy

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(words: str, module: object, **more: Any) -> dict[str, Any]:
    """Run the block with these words as if it were in a module, and return the names that it then has."""
    (code,) = [block for block in BLOCKS if words in block]
    names = {**vars(module), **more}
    exec(compile(f"from __future__ import annotations\n{code}", "CONTRIBUTING.md", "exec"), names)
    return names


@pytest.fixture
def count_spec(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The spec of the example, registered for the time of a test."""
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))
    monkeypatch.setattr(registry, "COMMANDS", dict(registry.COMMANDS))
    return run("class CountSpec", spec)["CountSpec"]


def test_documented_command_counts_deployments(count_spec: Any) -> None:
    shown: list[str] = []
    manager = SimpleNamespace(ensure=shown.append, run=list, aliases=lambda: ["a", "b"])
    context = SimpleNamespace(manager=manager, output=SimpleNamespace(text=shown.append))
    count = run("def count(", inspect)["count"]
    assert count.__doc__
    count(context, count_spec())
    assert shown == ["auto", "2"]
    assert registry.command_of(count_spec).run == "byzer_magic.actions.inspect:count"


def test_documented_policy_prefers_the_worker_with_the_most_free_slots() -> None:
    most_idle = run("def most_idle(", policy)["most_idle"]
    workers = {index: policy.Worker(index, 9, free, 0, 0.0) for index, free in enumerate((1, 5, 3))}
    candidates = policy.Candidates(most_idle, workers)
    for worker in workers.values():
        candidates.offer(worker)
    taken = candidates.take()
    assert taken is not None
    assert taken.index == 1

"""The examples in docstrings run, and every name that users or extenders call has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import byzer_magic
from byzer_magic import i18n, media, results
from byzer_magic.backends import base
from byzer_magic.client.model import Model

PACKAGE = Path(byzer_magic.__file__).parent
WITH_DEPLOYMENTS = {
    "byzer_magic", "byzer_magic.client.chatting", "byzer_magic.client.model", "byzer_magic.compat.llm",
    "byzer_magic.data.accessor",
}  # fmt: skip
"""Modules whose examples need deployments; tests/ray/test_examples.py runs them."""
WITH_EXAMPLES = sorted(
    str(path.relative_to(PACKAGE.parent)).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
)


def test_modules_whose_examples_need_deployments_have_some() -> None:
    assert set(WITH_EXAMPLES) >= WITH_DEPLOYMENTS


@pytest.mark.parametrize("name", sorted({*WITH_EXAMPLES} - WITH_DEPLOYMENTS))
def test_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert done.failed == 0


def public() -> Iterator[tuple[str, Any]]:
    """Yield the names that users and extenders call, with what they are."""
    for module in (byzer_magic, i18n, media, results):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and not name.startswith(("load_ipython", "unload_ipython")):
                yield f"{module.__name__}.{name}", value
    for cls in (Model, results.ChatResult):
        for name, value in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_"):
                yield f"{cls.__name__}.{name}", value
    yield from ((f"base.{name}", getattr(base, name)) for name in ("Info", "Param", "Setup", "typed_params"))


@pytest.mark.parametrize(("name", "value"), list(public()), ids=[name for name, _ in public()])
def test_public_name_has_an_example(name: str, value: Any) -> None:
    assert "Example" in (inspect.getdoc(value) or ""), f"{name} has no Example in its docstring"

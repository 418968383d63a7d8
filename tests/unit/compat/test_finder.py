"""`import byzerllm`: found where it is not installed, cheap, and with one sentence for what is left out."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
import textwrap
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import compat
from byzer_magic.compat import names
from byzer_magic.errors import ByzerError

HEAVY = ("jinja2", "pydantic", "ray", "openai", "numpy", "yaml", "IPython")


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    compat.install()
    yield
    compat.uninstall()


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


@pytest.mark.parametrize("module", sorted({*names.MODULES, *names.PACKAGES}))
def test_every_module_and_name_is_there(module: str) -> None:
    found = importlib.import_module(module)
    for name in names.MODULES.get(module, {}):
        assert getattr(found, name) is not None
    assert dir(found) == sorted(names.MODULES.get(module, {}))


def test_names_can_be_imported_in_every_form() -> None:
    scope: dict[str, object] = {}
    exec(
        "import byzerllm\nimport byzerllm.utils.client.types as t\nfrom byzerllm import *\n"
        "from byzerllm.utils.client import code_utils, ByzerLLM as Client\nfrom byzerllm.types import Int",
        scope,
    )
    assert scope["ByzerLLM"] is scope["Client"]
    assert scope["code_utils"].extract_code  # type: ignore[attr-defined]


def test_nothing_heavy_is_imported_before_a_name_is_used() -> None:
    code = (
        "import sys, byzer_magic.compat, byzerllm, byzerllm.utils.client\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = run(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_installed_package_of_that_name_wins(tmp_path: Path) -> None:
    (tmp_path / "byzerllm.py").write_text("mark = 'theirs'\n", encoding="utf-8")
    path = f"{tmp_path}:{Path(names.__file__).parents[2]}"
    done = run("import byzer_magic.compat, byzerllm; print(byzerllm.mark)", PYTHONPATH=path)
    assert done.stdout.strip() == "theirs", done.stderr


@pytest.mark.parametrize(
    ("imported", "used", "why"),
    [
        ("from byzerllm import ByzerRetrieval", "ByzerRetrieval()", "Byzer Storage"),
        ("from byzerllm.utils.retrieval import ByzerRetrieval", "ByzerRetrieval()", "Byzer Storage"),
        ("from byzerllm.apps.byzer_storage.simple_api import DataType", "DataType.STRING", "Byzer Storage"),
        ("from byzerllm.apps.byzer_storage.train_dpo import train_dpo", "train_dpo(name='x')", "trains models"),
        ("from byzerllm.apps.byzer_storage.train_sft import train_sft", "train_sft()", "trains models"),
        ("from byzerllm.apps.agent.conversable_agent import Agent", "class A(Agent): pass", "agent framework"),
        ("from byzerllm.utils.client import code_utils, message_utils", "message_utils.check()", "agent framework"),
        ("import byzerllm.utils.sft.merge_lora as merge", "merge.merge()", "trains models"),
        ("from byzerllm.utils.client import ByzerLLM", "ByzerLLM().sft()", "trains models"),
    ],
)
def test_what_is_left_out_can_be_imported_and_its_use_says_why(imported: str, used: str, why: str) -> None:
    scope: dict[str, object] = {}
    exec(imported, scope)
    with pytest.raises(ByzerError, match=why) as caught:
        exec(used, scope)
    assert isinstance(caught.value, ImportError | AttributeError)
    assert caught.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        "import byzerllm.chatglm6b",
        "import byzerllm.types.more",
        "from byzerllm.utils import something",
        "from byzerllm.types import something",
    ],
)
def test_what_nothing_is_known_about_cannot_be_imported(statement: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="byzer-magic has no equivalent") as caught:
        exec(statement, {})
    assert isinstance(caught.value, ByzerError)


@pytest.mark.parametrize(
    "expression",
    [
        "byzerllm.something",
        "byzerllm.types.something",
        "byzerllm.ByzerRetrieval.something",
        "byzerllm.ByzerLLM().sft",
        "byzerllm.ByzerLLM().tokenize",
    ],
)
def test_unknown_names_are_attribute_errors_that_say_why(expression: str) -> None:
    scope: dict[str, object] = {}
    exec("import byzerllm.types", scope)
    owner, _dot, name = expression.rpartition(".")
    with pytest.raises(AttributeError, match="is left out") as caught:
        eval(expression, scope)
    assert isinstance(caught.value, ByzerError)
    assert not hasattr(eval(owner, scope), name)


def test_python_may_look_for_names_in_the_modules() -> None:
    module = importlib.import_module("byzerllm.types")
    assert pickle.whichmodule(textwrap.dedent, "nowhere_to_be_found") == "textwrap"
    assert unittest.mock.create_autospec(module, spec_set=False) is not None
    with unittest.mock.patch.object(module, "added", 1, create=True):
        assert module.added == 1
    assert importlib.util.find_spec("byzerllm.types") is not None


def test_names_that_are_left_out_can_be_in_annotations_and_checks() -> None:
    byzerllm: Any = importlib.import_module("byzerllm")
    missing = byzerllm.ByzerRetrieval
    assert missing | None
    assert None | missing
    assert missing[int]
    assert not isinstance("text", missing)
    assert not issubclass(str, missing)


def test_modules_that_an_installed_package_lacks_are_not_found_here(tmp_path: Path) -> None:
    (tmp_path / "byzerllm" / "utils").mkdir(parents=True)
    for folder in ("", "utils"):
        (tmp_path / "byzerllm" / folder / "__init__.py").write_text("", encoding="utf-8")
    path = f"{tmp_path}:{Path(names.__file__).parents[2]}"
    code = (
        "import byzer_magic.compat, byzerllm.utils\n"
        "for name in ('byzerllm.types', 'byzerllm.utils.client', 'byzerllm.utils.sft', 'byzerllm.unknown'):\n"
        "    try:\n        __import__(name)\n    except ModuleNotFoundError as err:\n        print(type(err).__name__)"
    )
    done = run(code, PYTHONPATH=path)
    assert done.stdout.split() == ["ModuleNotFoundError"] * 4, done.stderr


def test_private_names_are_attribute_errors() -> None:
    module = importlib.import_module("byzerllm")
    assert not hasattr(module, "__wrapped__")
    assert not hasattr(module, "_ipython_display_")


def test_uninstall_forgets_the_modules() -> None:
    importlib.import_module("byzerllm.utils")
    compat.uninstall()
    assert not [name for name in sys.modules if name.partition(".")[0] == "byzerllm"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("byzerllm")

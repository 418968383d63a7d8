"""`import byzerllm`: found where it is not installed, cheap, and with one sentence for what is left out."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
    with pytest.raises(ImportError, match=why) as caught:
        exec(used, scope)
    assert isinstance(caught.value, ByzerError)
    assert caught.value.hint


@pytest.mark.parametrize(
    "statement",
    ["import byzerllm; byzerllm.something", "import byzerllm.chatglm6b", "from byzerllm.utils import something"],
)
def test_what_nothing_is_known_about_cannot_be_imported(statement: str) -> None:
    with pytest.raises(ImportError, match="byzer-magic has no equivalent") as caught:
        exec(statement, {})
    assert isinstance(caught.value, ByzerError)


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

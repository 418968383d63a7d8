"""The accessor of frames, in processes that import pandas before, after and never."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from byzer_magic.data import accessor
from tests.unit.data.test_frames import echo, model


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_accessor_waits_for_pandas_and_leaves_its_import_as_it_was() -> None:
    code = """
import importlib.util, sys
from byzer_magic.data import accessor
accessor.install(); accessor.install()
assert importlib.util.find_spec("pandas"), "who looks for it need not import it"
print("pandas" in sys.modules, end=" ")
import pandas
print(hasattr(pandas.DataFrame(), "byzer"), hasattr(pandas.Series(dtype=int), "byzer"), end=" ")
print(type(pandas.__loader__).__name__, type(pandas.__spec__.loader).__name__, end=" ")
print(any(type(finder).__name__ == "Finder" and "accessor" in type(finder).__module__ for finder in sys.meta_path))
"""
    assert run(code) == "False True True SourceFileLoader SourceFileLoader False"


def test_accessor_without_pandas_stays_an_import_error() -> None:
    code = """
import sys
from byzer_magic.data import accessor
accessor.install()
sys.path[:] = []
try:
    import pandas
except ModuleNotFoundError as err:
    print(err)
"""
    assert run(code) == "No module named 'pandas'"


def test_accessor_maps_and_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    accessor.install()
    frame = pd.DataFrame({"text": ["a"]})
    found = frame.byzer.map(model(echo), "Say {text}", out="answer")
    assert found.answer.tolist() == ["Echo: Say a"]
    assert pd.Series(["b"], name="word").byzer.map(model(echo), "{word}").response.tolist() == ["Echo: b"]
    monkeypatch.setattr("byzer_magic.client.current.model", lambda alias: {"m": model("by alias")}[alias])
    assert frame.byzer.map("m", "{text}").response.tolist() == ["by alias"]


def test_accessor_leaves_one_of_that_name_alone() -> None:
    accessor.install()
    before = pd.DataFrame.byzer
    accessor.register(pd)
    assert pd.DataFrame.byzer is before

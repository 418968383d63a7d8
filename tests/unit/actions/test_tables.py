"""`map` as a command: variables of a notebook, files of a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
import pytest

from byzer_magic.actions import table_files, tables
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.commands import parser
from byzer_magic.errors import CommandError
from tests.unit.data.test_datasets import Dataset
from tests.unit.data.test_frames import Deployed, echo


class Notable(pydantic.BaseModel):
    label: str
    stars: int


class Here(Deployed):
    """A deployment in a cluster that is there."""

    def ensure(self, _address: str = "auto", _say: Any = None) -> None:
        """Nothing has to be connected."""


def run(text: str, namespace: dict[str, Any] | None = None, *answers: Any) -> Any:
    context = Context(manager=Here(*(answers or (echo,))), output=Terminal(), namespace=namespace)
    return tables.map_rows(context, parser.parse(parser.split(text)))  # type: ignore[arg-type]


def test_map_of_a_variable() -> None:
    rows = pd.DataFrame({"text": ["a"]})
    space: dict[str, Any] = {"rows": rows, "Notable": Notable}
    found = run('map --model m --df rows --prompt "Say {text}" --out label --params seed=1', space)
    assert found.label.tolist() == ["Echo: Say a"]
    assert run('map --model m --df rows --prompt "Say {text}" --into done', space) is None
    assert space["done"].response.tolist() == ["Echo: Say a"]
    answer = '{"label": "x", "stars": 2}'
    typed = run('map --model m --df rows --prompt "Say {text}" --schema Notable', space, answer)
    assert typed[["label", "stars"]].to_dict("records") == [{"label": "x", "stars": 2}]
    with pytest.raises(CommandError, match="variable row, which is not defined") as caught:
        run("map --model m --df row --prompt x", space)
    assert str(caught.value.hint) == "Did you mean rows?"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_map_of_a_file(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame({"text": ["a,b", "ü😀"], "n": [1, 2]})
    given, made = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    table_files.write(rows, str(given))
    assert run(f'map --model m --input_file {given} --output_file {made} --prompt "{{text}} {{n}}" --out o') is None
    found = table_files.read(str(made))
    assert found.o.tolist() == ["Echo: a,b 1", "Echo: ü😀 2"]
    assert found.text.tolist() == rows.text.tolist()
    assert "Wrote" in capsys.readouterr().err
    run(f'map --model m --input_file {given} --prompt "{{text}}" --out o')
    assert capsys.readouterr().out.startswith("text,n,o,o_error\n")
    run(f'map --model m --input_file {given} --prompt "{{text}}" --dry_run')
    assert capsys.readouterr().out.startswith("2 rows: 2 to ask")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("map --model m --prompt x", "either --df or --input_file"),
        ("map --model m --df rows --prompt x", "a variable of a notebook"),
        ("map --model m --input_file in.xls --prompt x", "in.xls is not a table"),
        ("map --model m --input_file in.csv --prompt x", "Cannot read"),
        ("map --model m --input_file in.csv --prompt x --output_file out.txt", "out.txt is not a table"),
        ("map --model m --input_file in.csv --prompt x --into y", "--into names a variable"),
    ],
)
def test_map_says_what_a_shell_needs(command: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(command)


def test_map_that_is_interrupted_in_a_shell_writes_what_there_is_and_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, made = tmp_path / "in.csv", tmp_path / "out.csv"
    rows.write_text("text\na\n", encoding="utf-8")
    real = Here.run

    def interrupted(self: Here, work: Any) -> Any:
        found = real(self, work)
        if work.__qualname__ == "Run.run":
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Here, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(f'map --model m --input_file {rows} --output_file {made} --prompt "{{text}}"')
    assert made.read_text(encoding="utf-8").splitlines()[1] == "a,Echo: a,"
    space = {"rows": pd.DataFrame({"text": ["a"]})}
    assert run('map --model m --df rows --prompt "{text}"', space).response.tolist() == ["Echo: a"], "a cell shows it"


def test_map_says_that_a_table_cannot_be_written(tmp_path: Path) -> None:
    space = {"rows": pd.DataFrame({"text": ["a"], "data": [object()]})}
    with pytest.raises(CommandError, match="Cannot write") as caught:
        run(f'map --model m --df rows --prompt "Say {{text}}" --output_file {tmp_path / "out.parquet"}', space)
    assert "not paid twice" in str(caught.value.hint)
    with pytest.raises(CommandError, match="Ray Dataset, which --output_file does not write"):
        run(f"map --model m --df rows --prompt x --output_file {tmp_path / 'out.csv'}", {"rows": Dataset()})

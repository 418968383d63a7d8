"""Tables in files: cells come back as they were, in the encodings that there are, and errors say what is wrong."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from byzer_magic.actions import table_files
from byzer_magic.errors import CommandError
from byzer_magic.files import writing

TEXTS = "zip,price,text\n00123,19.90,NA\n01,1e5,\n,7,é\n"


def test_cells_of_a_csv_file_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(TEXTS, encoding="utf-8")
    found = table_files.read(str(path))
    assert found.zip.tolist()[:2] == ["00123", "01"]
    assert found.isna().to_numpy().tolist() == [[False] * 3, [False, False, True], [True, False, False]]
    assert b"".join(table_files.csv(found)).decode() == TEXTS


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "created_at": VALUES}), min_size=1, max_size=4))
def test_values_of_json_keep_their_types(tmp_path_factory: pytest.TempPathFactory, records: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    table_files.write(table_files.read(str(path)), str(path))
    again = [json.loads(line) for line in path.read_text(encoding="utf-8", errors="surrogatepass").split("\n") if line]
    assert again == records


def test_answers_are_whole_in_texts(tmp_path: Path) -> None:
    vector = np.arange(2000, dtype="f4")
    frame = pd.DataFrame({"embedding": [vector], "at": [pd.Timestamp("2026-01-02")], "days": [["mon"]]}, index=["id7"])
    for name in ("out.csv", "out.jsonl"):
        table_files.write(frame, str(tmp_path / name))
    (cells,) = table_files.read(str(tmp_path / "out.csv")).to_dict("records")
    (values,) = table_files.read(str(tmp_path / "out.jsonl")).to_dict("records")
    assert json.loads(cells["embedding"]) == values["embedding"] == vector.tolist()
    assert (cells["index"], cells["at"], json.loads(cells["days"])) == ("id7", "2026-01-02", ["mon"])
    assert (values["index"], values["at"], values["days"]) == ("id7", "2026-01-02T00:00:00", ["mon"])


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-8-sig", ""), ("utf-16", ""), ("gb18030", "GB18030"), ("cp1252", "cp1252")]
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_encodings(tmp_path: Path, encoding: str, named: str, ending: str) -> None:
    path = tmp_path / f"in.{ending}"
    word = "你好" if encoding == "gb18030" else "café"
    path.write_text(f"text\n{word}\n" if ending == "csv" else f'{{"text": "{word}"}}\n', encoding=encoding)
    if named:
        with pytest.raises(CommandError, match="is not in UTF-8") as caught:
            table_files.read(str(path))
        assert "--encoding gb18030" in str(caught.value.hint)
    assert table_files.read(str(path), named or None).text.tolist() == [word]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "No columns to parse from file.$"),
        ("a.csv", b"a,b\n1,2,3\n", "a line has more cells than the first one.$"),
        ("a.csv", b"a\n1\n2,3\n", "Expected 1 fields in line 3, saw 2.$"),
        ("a.jsonl", b'{"a": 1}\n{"a":', "line 2 is not JSON"),
        ("a.jsonl", b"[1]", "line 1 is not a JSON object.$"),
        ("a.parquet", b"PAR1", "Cannot read .*a.parquet"),
        ("b.csv", None, "No such file or directory.$"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CommandError) as caught:
        table_files.read(str(tmp_path / name))
    assert re.search(message, str(caught.value.message))
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf8-x", "base64"])
def test_what_is_not_an_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    with pytest.raises(CommandError, match="encoding"):
        table_files.read(str(tmp_path / "a.csv"), encoding)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_file_that_cannot_be_written_whole_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = tmp_path / f"rows.{ending}"
    table_files.write(pd.DataFrame({"text": ["a"]}), str(path))
    before = path.read_bytes()
    for bad in (pd.DataFrame({"text": ["a"], "n": [b"RIFF"]}), pd.DataFrame([[1, 2]], columns=["a", "a"])):
        if ending == "parquet" and bad.shape == (1, 2) and "n" in bad:
            continue  # it has bytes
        if ending == "csv" and "n" not in bad:
            continue  # it has columns of one name
        with pytest.raises(CommandError, match="Cannot write"):
            table_files.write(bad, str(path))

    def full(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.os, "fdopen", full)
    with pytest.raises(CommandError, match="No space left on device") as caught:
        table_files.write(pd.DataFrame({"text": ["b"]}), str(path))
    assert "not paid twice" in str(caught.value.hint)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

"""Columns in compact arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from byzer_magic.data import columns


def filled(column: columns.Column, values: list[Any]) -> Any:
    for value in values:
        column.add(value)
    return pd.Series(column.finish())


@pytest.mark.parametrize(
    ("make", "values", "dtype"),
    [
        (columns.Texts, st.text(st.characters(exclude_categories=["Cs"])), "str"),
        (columns.Integers, st.integers(-(2**63), 2**63 - 1), "Int64"),
        (columns.Floats, st.floats(allow_nan=False), "float64"),
        (columns.Booleans, st.booleans(), "boolean"),
        (lambda: columns.Categories(["a", "b", "c"]), st.sampled_from(["a", "b", "c"]), "category"),
        (columns.Objects, st.lists(st.integers(), min_size=1), "object"),
    ],
)
@given(st.data())
def test_column_keeps_values_and_what_is_missing(
    make: Callable[[], columns.Column], values: st.SearchStrategy[Any], dtype: str, data: st.DataObject
) -> None:
    given_values = data.draw(st.lists(st.none() | values, max_size=30))
    found = filled(make(), given_values)
    assert [None if known is None else value for known, value in zip(given_values, found, strict=True)] == given_values
    assert found.isna().tolist() == [value is None for value in given_values]
    assert found.dtype == dtype or not given_values


def test_column_of_integers_beyond_64_bits_has_objects() -> None:
    assert filled(columns.Integers(), [1, None, 10**30]).tolist() == [1, None, 10**30]


def test_column_of_embeddings_is_one_matrix() -> None:
    column = columns.Vectors()
    for value in (np.ones(3), None, [1, 2, 3]):
        column.add(value)
    found = column.finish()
    assert [None if cell is None else cell.tolist() for cell in found] == [[1, 1, 1], None, [1, 2, 3]]
    assert found[0].base is not None
    assert found[0].dtype == np.float32
    assert columns.Vectors().finish().tolist() == []


def test_column_of_texts_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd.StringDtype, "storage", "python", raising=False)
    with pd.option_context("mode.string_storage", "python"):
        found = filled(columns.Texts(), ["zwölf 😀", None, ""])
    assert [None if isinstance(cell, float) else cell for cell in found] == ["zwölf 😀", None, ""]

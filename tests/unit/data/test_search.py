"""Search in a column of embeddings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from byzer_magic import errors
from byzer_magic.client.model import Model
from byzer_magic.data.search import search
from byzer_magic.types import EmbeddingBatch, EmbedRequest
from tests.unit.data.test_frames import model

VECTORS = {"north": [0, 1], "east": [1, 0], "north east": [1, 1], "south": [0, -1]}


def compass() -> Model:
    def answer(request: EmbedRequest) -> list[EmbeddingBatch]:
        return [EmbeddingBatch(0, 2, np.array([VECTORS[text] for text in request.texts], "<f4").tobytes())]

    return model(answer, capabilities=("embed",))


def embedded() -> pd.DataFrame:
    frame = pd.DataFrame({"text": [*VECTORS, None]}, index=list("abcde"))
    found: pd.DataFrame = compass().map(frame, "{text}")
    return found


def test_search_returns_the_nearest_rows_with_their_scores() -> None:
    found = search(embedded(), "north", k=3, model=compass())
    assert found.text.tolist() == ["north", "north east", "east"]
    assert found.score.tolist() == pytest.approx([1, 0.5**0.5, 0])
    assert found.index.tolist() == ["a", "c", "b"]
    assert len(search(embedded(), "north", k=99, model=compass())) == 4
    levels = pd.DataFrame([["north"], ["east"]], columns=pd.MultiIndex.from_tuples([("a", "x")]))
    levels = compass().map(levels, "{('a', 'x')}")
    assert search(levels, [0, 1], k=1).index.tolist() == [0], "it is called ('embedding', '')"
    assert search(embedded(), [0, -5], k=1).text.tolist() == ["south"]


@pytest.mark.parametrize("k", [-1, "5", 1.5, None])
def test_search_says_what_is_not_a_number_of_rows(k: object) -> None:
    with pytest.raises(errors.CommandError, match="which is not a number of rows"):
        search(embedded(), [0, 1], k=k)  # type: ignore[arg-type]


def test_search_of_a_column_that_others_have_made() -> None:
    frame = pd.DataFrame({"v": [[1.0, 0.0], [0.0, 0.0]]})
    assert search(frame, np.array([1.0, 0.0]), column="v").score.tolist() == [1.0, 0.0]
    with pytest.raises(errors.CommandError, match="not known which model made"):
        search(frame, "north", column="v")
    with pytest.raises(errors.CommandError, match="0 columns that are known to have embeddings"):
        search(frame, "north")
    with pytest.raises(errors.CommandError, match="no column w"):
        search(frame, "north", column="w")
    with pytest.raises(errors.CommandError, match="2 dimensions, that of the query 3"):
        search(frame, [1, 2, 3], column="v")
    with pytest.raises(errors.CommandError, match="not embeddings of one size"):
        search(pd.DataFrame({"v": [[1.0], [1.0, 2.0]]}), [1.0], column="v")
    assert len(search(pd.DataFrame({"v": []}), [1.0], column="v")) == 0
    missing = pd.DataFrame({"v": [[1.0, 0.0], None, pd.NA, float("nan"), pd.NaT]})  # Ray Data makes NA of None
    assert search(missing, [1.0, 0.0], column="v").index.tolist() == [0]


@settings(max_examples=50)
@given(arrays.arrays("f4", (7, 3), elements=st.floats(-1, 1, width=32)), st.integers(0, 9))
def test_search_is_that_of_sorting_all_by_cosine(matrix: np.ndarray, k: int) -> None:
    frame = pd.DataFrame({"v": list(matrix)})
    found = search(frame, [1.0, 2.0, 3.0], k=k, column="v")
    assert len(found) == min(k, 7)
    scores = found.score.tolist()
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= score <= 1.001 for score in scores)

"""Which columns a type has."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Annotated, Any, Literal

import pandas as pd
import pydantic
import pytest
from typing_extensions import TypedDict

from byzer_magic.data import schema
from byzer_magic.errors import CommandError


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Inner(pydantic.BaseModel):
    n: int


class Review(pydantic.BaseModel):
    label: Literal["pos", "neg"]
    mood: Mood | None = None
    stars: Annotated[int, pydantic.Field(ge=1)] = 1
    score: float = 0.5
    is_long: bool = False
    why: str | None = None
    when: datetime.datetime | None = None
    tags: list[str] = []
    inner: Inner | None = None


@dataclasses.dataclass
class City:
    name: str
    people: int


class Place(TypedDict):
    name: str
    lat: float


class One(pydantic.BaseModel):
    label: str


def series(kind: Any, values: list[Any], out: str | None = None) -> pd.DataFrame:
    shape = schema.of_type(kind, out)
    columns = [make() for make in shape.makers]
    for value in values:
        for column, cell in zip(columns, shape.split(value), strict=True):
            column.add(cell)
    return pd.DataFrame({name: column.finish() for name, column in zip(shape.names, columns, strict=True)})


def test_model_has_a_typed_column_for_each_field() -> None:
    when = datetime.datetime(2026, 1, 2)
    full = Review(label="pos", mood=Mood.BAD, stars=5, why="w", when=when, tags=["a"], inner=Inner(n=1))
    frame = series(Review, [full, Review(label="neg")])
    assert {name: str(dtype).partition("[")[0] for name, dtype in frame.dtypes.items()} == {
        "label": "category", "mood": "category", "stars": "Int64", "score": "float64", "is_long": "boolean",
        "why": "str", "when": "datetime64", "tags": "object", "inner": "object",
    }  # fmt: skip
    assert frame.mood[0] == "bad"
    assert pd.isna(frame.mood[1])
    assert frame.inner.tolist()[0] == {"n": 1}
    assert list(frame.label.cat.categories) == ["pos", "neg"]


def test_types_with_fields_and_without() -> None:
    assert series(City, [City("Paris", 2)]).to_dict("records") == [{"name": "Paris", "people": 2}]
    assert list(series(Place, [{"name": "x", "lat": 1.0}], "place").columns) == ["place_name", "place_lat"]
    assert series(list[int], [[1, 2]], "primes").primes.tolist() == [[1, 2]]
    assert series(int, [7], "n").n.dtype == "Int64"
    assert series(Literal["a", "b"], ["b"], "x").x.dtype == "category"


def test_type_with_one_field_fills_the_column_that_is_named() -> None:
    shape = schema.of_type(One, "sentiment")
    assert (shape.names, shape.error) == (("sentiment",), "sentiment_error")
    assert schema.of_type(One, None).names == ("label",)


@pytest.mark.parametrize(
    ("kind", "value"), [(pydantic.RootModel[list[int]], pydantic.RootModel[list[int]]([1])), (Any, [1])]
)
def test_other_types_have_one_column_of_objects(kind: Any, value: Any) -> None:
    assert series(kind, [value], "x").x.tolist() == [[1]]


class Checked(pydantic.BaseModel):
    verdict: str
    error: str | None = None


def test_field_that_would_take_the_column_of_the_errors_is_refused() -> None:
    assert schema.of_type(Checked, None).names == ("verdict", "error")
    with pytest.raises(CommandError, match="review_error would have both a field of Checked and the errors"):
        schema.of_type(Checked, "review")

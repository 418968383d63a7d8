"""Search in a column of embeddings: by cosine, with numpy, over as many rows as fit in memory."""

from __future__ import annotations

import numbers
from typing import Any

from byzer_magic.client import arguments, current
from byzer_magic.client.model import Model
from byzer_magic.data.rows import as_frame, label_of, names_of
from byzer_magic.data.table import ATTRIBUTE
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import lazy_gettext as _, listed

SCORE = "score"


def search(rows: Any, query: Any, k: int = 5, *, column: str | None = None, model: Any = None) -> Any:
    """Return the rows that are nearest to a query; see `byzer_magic.search`.

    Args:
        rows: a DataFrame with a column of embeddings.
        query: a text, or an embedding.
        k: rows at most.
        column: the embeddings; by default the column that `Model.map` has made.
        model: the alias, or the model, that embeds the query; by default the one that made the column.

    Raises:
        CommandError: there is no such column, its embeddings have another size than the query's, or `k` is negative.
    """
    import numpy as np

    most: Any = k
    if not isinstance(most, numbers.Integral) or k < 0:
        raise CommandError(
            _("k is {value}, which is not a number of rows.", value=arguments.shown(k)),
            _("Example: {example}", example="bz.search(frame, query, k=5)"),
        )
    frame = as_frame(rows)
    name = _column(frame) if column is None else arguments.text(column, "column")
    cells = _cells(frame, name)
    known = np.array([not arguments.is_missing(cell) for cell in cells], bool)
    matrix = _matrix([cell for cell, is_known in zip(cells, known, strict=True) if is_known], name)
    vector = _embedded(query, frame, name, model)
    if len(matrix) and matrix.shape[1] != len(vector):
        raise CommandError(
            _("The embeddings in {name} have {count} dimensions, that of the query {other}.",
              name=name, count=matrix.shape[1], other=len(vector)),
            _("Embed the query with the model and the options that the column was made with."),
        )  # fmt: skip
    scores = _cosines(matrix, vector)
    best = np.argsort(-scores, kind="stable")[:k]
    found = frame.iloc[np.flatnonzero(known)[best]].copy()
    found[label_of(found, SCORE)] = scores[best]
    return found


def _column(frame: Any) -> str:
    """Return the column of embeddings that a frame has.

    Raises:
        CommandError: it is not known, or there are several.
    """
    about = frame.attrs.get(ATTRIBUTE, {})
    found = [name for name in names_of(frame) if about.get(name, {}).get("capability") == "embed"]
    if len(found) != 1:
        raise CommandError(
            _("The frame has {count} columns that are known to have embeddings.", count=len(found)),
            _("Name it: bz.search(frame, query, column=..., model=...); or make one: model.map(frame, '{text}')"),
        )
    return found[0]


def _cells(frame: Any, name: str) -> list[Any]:
    names = names_of(frame)
    if names.count(name) != 1:
        hint = _("The columns: {names}", names=listed(names[:8]))
        raise CommandError(_("The frame has no column {name}.", name=name), suggest(name, names, hint))
    cells: list[Any] = frame.iloc[:, names.index(name)].tolist()
    return cells


def _matrix(cells: list[Any], name: str) -> Any:
    """Return embeddings as one matrix.

    Raises:
        CommandError: they are not of one size.
    """
    import numpy as np

    try:
        found = np.stack([np.asarray(cell, "f4") for cell in cells]) if cells else np.zeros((0, 0), "f4")
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.ndim != 2:
        raise CommandError(
            _("The cells of {name} are not embeddings of one size.", name=name),
            _("Make the column by model.map(frame, '{text}')."),
        )
    return found


def _cosines(matrix: Any, vector: Any) -> Any:
    import numpy as np

    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
    return (matrix @ vector if len(matrix) else np.zeros(0)) / np.where(lengths == 0, 1, lengths)


def _embedded(query: Any, frame: Any, name: str, model: Any) -> Any:
    """Return a query as an embedding."""
    import numpy as np

    if not isinstance(query, str):
        return np.asarray(query, "f4").reshape(-1)
    about = frame.attrs.get(ATTRIBUTE, {}).get(name, {})
    wanted = model if model is not None else about.get("model")
    if wanted is None:
        raise CommandError(
            _("It is not known which model made the embeddings in {name}.", name=name),
            _("Pass it: bz.search(frame, query, model='ALIAS')"),
        )
    found = wanted if isinstance(wanted, Model) else current.model(arguments.text(wanted, "model"))
    return found.embed(query, **(about.get("options", {}) if model is None else {}))

"""How wide a text is on a terminal: Chinese characters and most emoji take two cells."""

from __future__ import annotations


def width(text: str) -> int:
    """Return the cells that a text takes on a terminal.

    Example:
        >>> width("worker"), width("部署")
        (6, 4)
    """
    from wcwidth import wcswidth  # here, because every worker imports this package, and few texts are padded

    cells = wcswidth(text)
    return cells if cells >= 0 else len(text)  # control characters have no width


def pad(text: str, cells: int) -> str:
    """Return a text with spaces at its end, so that it takes at least `cells` cells.

    Example:
        >>> pad("部署", 6) + "|"
        '部署  |'
    """
    return text + " " * max(0, cells - width(text))

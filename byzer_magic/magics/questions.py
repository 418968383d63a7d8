"""Lines that ask a question: IPython takes `%chat gpt4o Why?` for a request to describe `Why`, since it ends in `?`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BEFORE = {("%chat",): 1, ("%byzer", "easy", "chat"): 1}
"""How such lines begin, and the words between that and the question: the alias."""


def rewritten(lines: list[str]) -> list[str]:
    r"""Return a cell with its lines that ask a question as calls of their magics; a cell of another magic as it is.

    Example:
        >>> rewritten(["%chat gpt4o Why?"])
        ["get_ipython().run_line_magic('chat', 'gpt4o Why?')\n"]
        >>> rewritten(["%chat?"])
        ['%chat?']
    """
    if lines and lines[0].startswith("%%"):
        return lines
    return [_rewritten(line) if asks(line) else line for line in lines]


def asks(line: str) -> bool:
    """Return whether a line is a prompt that ends in a question mark."""
    words = line.split()
    return line.rstrip().endswith("?") and any(
        tuple(words[: len(start)]) == start and len(words) > len(start) + more for start, more in BEFORE.items()
    )


def _rewritten(line: str) -> str:
    text = line.strip()
    magic, rest = text.split(maxsplit=1)
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}get_ipython().run_line_magic({magic.removeprefix('%')!r}, {rest!r})\n"


def install(shell: Any) -> Callable[[], None]:
    """Have the shell read such lines so; return what removes that again."""
    transforms = shell.input_transformers_cleanup
    transforms.insert(0, rewritten)
    return lambda: transforms.remove(rewritten)

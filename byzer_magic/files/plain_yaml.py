"""YAML of others: texts, lists and mappings, nothing else.

Every scalar is read as its text, so that `2024-02-15` does not become a date. Anchors, aliases, tags and merge keys are
refused: a few lines of them stand for billions of values.
"""

from __future__ import annotations

from typing import Any

from byzer_magic.i18n import lazy_gettext as _


class UnreadableYaml(Exception):
    """A text that is not such YAML; nothing of the text is in it, since that may be a secret.

    Args:
        problem: what is wrong, as a part of a sentence.
        line: where, from 1 on; 0 where that is not known.
        sign: the sign of what is refused: `&`, `*`, `!` or `<<`; empty for what is not YAML at all.
    """

    def __init__(self, problem: str, line: int, sign: str = "") -> None:
        where = _("line {line}: {problem}", line=line, problem=problem) if line else problem
        super().__init__(where)
        self.problem = problem
        self.line = line
        self.sign = sign


def load(text: str) -> Any:
    r"""Return what a YAML text has: texts, lists and dicts.

    Raises:
        UnreadableYaml: it is not valid YAML, or has an anchor, an alias, a tag of one's own or a merge key.

    Example:
        >>> load("model: tiny\nsizes: [1, 2]")
        {'model': 'tiny', 'sizes': ['1', '2']}
    """
    import yaml  # a fifth of the time of %load_ext, and only files need it

    class Reader(yaml.BaseLoader):
        """Makes texts, lists and dicts, nothing else, each from its own text."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in its stub
            if sign := _sign(event):
                problem = _("anchors, aliases, tags and merge keys are not supported")
                raise UnreadableYaml(problem, event.start_mark.line + 1, sign)
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader=Reader)  # noqa: S506 - see Reader
    except (yaml.YAMLError, RecursionError) as err:  # the latter for a thousand brackets
        mark = getattr(err, "problem_mark", None)
        problem = (getattr(err, "problem", None) or str(err).splitlines()[0]).partition(" '!")[0]  # a text of the file
        raise UnreadableYaml(problem, mark.line + 1 if mark else 0) from None  # it quotes the line, with its key


def _sign(event: Any) -> str:
    """Return the sign of an anchor, an alias, a tag of one's own or a merge key: what follows may be a secret."""
    if getattr(event, "anchor", None) is not None:
        return "&" if hasattr(event, "implicit") else "*"
    if str(getattr(event, "tag", None) or "").startswith("!"):
        return "!"
    return "<<" if getattr(event, "value", "") == "<<" and event.implicit[0] else ""

"""Reads HTML strictly: every element is closed in its order, and there are no unexpected ones."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"img", "br", "input", "hr", "meta", "link"}


class Page(HTMLParser):
    """What is in a piece of HTML.

    Raises:
        AssertionError: its elements do not nest.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(str(text))
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open):
            self.text += data

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        """Return the attributes of each such element, of those with a class if one is given."""
        found = [attrs for name, attrs in self.elements if name == tag]
        return [attrs for attrs in found if not kind or kind in attrs.get("class", "").split()]

    def tags(self) -> set[str]:
        """Return the names of all elements."""
        return {name for name, _ in self.elements}

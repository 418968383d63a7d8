"""Tables as text and HTML."""

from __future__ import annotations

from byzer_magic.rendering import assets, tables
from tests.pages import Page


def test_bundle_separates_tables() -> None:
    data = tables.bundle([[{"a": 1}], [], [{"b": 2}]])
    assert data["text/plain"] == "a\n1\n\nb\n2"
    assert len(Page(data["text/html"]).all("table", "bz-table")) == 2
    assert "~ .bz-table.bz-table { margin-top:" in assets.read("table.css")


def test_to_html_aligns_numbers_to_the_right() -> None:
    html = tables.to_html([{"name": "a", "size": "4.1 GB", "count": 3}, {"name": "b", "size": "", "count": 12}], "")
    assert html.count('<td class="bz-number">') == 4
    assert '<th scope="col">name' in html
    assert tables.to_html([], "<none>") == "<p>&lt;none&gt;</p>"

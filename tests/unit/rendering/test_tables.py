"""Tables as text and HTML."""

from __future__ import annotations

from byzer_magic.rendering import assets, tables
from byzer_magic.rendering.markup import tag
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


def test_to_text_aligns_chinese_columns() -> None:
    rows = [{"模型": "部署一", "n": 1}, {"模型": "m", "n": 2}]
    assert tables.to_text(rows, "").splitlines() == ["模型    n", "部署一  1", "m       2"]


def test_to_text_and_to_html_show_the_same_cells() -> None:
    rows = [{"name": tables.Cell("a", tag("b", "A")), "n": "<1>"}]
    page = Page(tables.to_html(rows, ""))
    assert page.all("b")
    assert "<1>" in page.text
    assert tables.to_text(rows, "").splitlines()[1] == "a     <1>"

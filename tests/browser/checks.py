"""What every screen must pass: axe-core's rules, a walk with the Tab key, and no English left on a Chinese screen."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Locator

from tests.browser.driver import ROOT

AXE = ROOT / "tests/servers/node_modules/axe-core/axe.min.js"
TEXTS = ROOT / "byzer_magic/widgets/texts"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
STEPS = 200
"""No screen of ours has more stops than this."""

NAME = """(root) => {
    const node = document.activeElement;
    if (!root.contains(node)) return null;
    const label = node.getAttribute('aria-label') || (node.labels && node.labels[0] && node.labels[0].innerText)
        || node.innerText || node.getAttribute('title') || node.getAttribute('placeholder') || '';
    const style = getComputedStyle(node);
    const seen = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
    return {tag: node.tagName.toLowerCase(), name: label.trim().split('\\n')[0], ring: seen};
}"""


def violations(target: Locator) -> list[str]:
    """Return what axe-core finds wrong within an element: the rule, and the first nodes that break it."""
    assert AXE.is_file(), "axe-core is not installed; run: npm ci --prefix tests/servers"
    if not target.page.evaluate("typeof window.axe === 'object'"):
        target.page.evaluate(f"(() => {{ {AXE.read_text()} }})()")  # from the disk; a script tag would ask for a URL
    found = target.evaluate(
        "(node, tags) => window.axe.run(node, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})",
        RULES,
    )
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}\n"
        + "\n".join(f"    {_why(node)}" for node in rule["nodes"][:4])
        for rule in found["violations"]
    ]


def _why(node: dict[str, Any]) -> str:
    reasons = "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])
    return f"{node['html'][:160]}  <- {reasons[:240]}"


def accessible(target: Locator) -> None:
    """Fail when axe-core finds anything wrong within an element."""
    found = violations(target)
    assert not found, "\n".join(["not accessible:", *found])


def walk(target: Locator) -> list[str]:
    """Press Tab through an element; return its stops as `button Deploy`. Each must have a name and a focus ring."""
    handle = target.element_handle()
    page = target.page
    target.evaluate(
        """node => {
            const before = document.createElement('span');
            before.tabIndex = 0; before.dataset.bzWalk = '1';
            node.parentNode.insertBefore(before, node);
            before.focus();
        }"""
    )
    stops: list[str] = []
    try:
        for _ in range(STEPS):
            page.keyboard.press("Tab")
            stop = page.evaluate(NAME, handle)
            if stop is None:
                break
            assert stop["name"], f"a {stop['tag']} without a name, after {stops}"
            assert stop["ring"], f"{stop['tag']} {stop['name']} shows no focus"
            stops.append(f"{stop['tag']} {stop['name']}")
        else:
            raise AssertionError(f"Tab never leaves: {stops[:12]}")
    finally:
        page.evaluate("document.querySelectorAll('[data-bz-walk]').forEach(node => node.remove())")
    return stops


def english(text: str, *screens: str) -> list[str]:
    """Return the English phrases of these screens' texts (all, without a name) that `text` has."""
    return [phrase for phrase in _phrases(screens) if re.search(rf"(?<![\w./-]){re.escape(phrase)}(?![\w/-])", text)]


def _phrases(screens: tuple[str, ...]) -> Iterator[str]:
    for file in sorted(TEXTS.glob("*.toml")):
        if screens and file.stem not in screens:
            continue
        for entry in tomllib.loads(file.read_text(encoding="utf-8")).values():
            if not isinstance(entry, dict) or entry.get("en") == entry.get("zh"):
                continue
            for piece in re.split(r"\{[^}]*\}|\n", str(entry.get("en", ""))):
                phrase = piece.strip(" .,:;()…·-\t")
                if len(phrase) > 3 and re.search("[A-Za-z]{3}", phrase) and phrase not in str(entry.get("zh")):
                    yield phrase

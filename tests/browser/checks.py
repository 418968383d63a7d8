"""What every screen must pass: axe-core's rules, a walk with the Tab key, and no English left on a Chinese screen."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from babel.messages.pofile import read_po
from playwright.sync_api import Locator

from tests.browser.driver import ROOT

AXE = ROOT / "tests/js/node_modules/axe-core/axe.min.js"
CATALOG = ROOT / "byzer_magic/i18n/locale/zh_CN/LC_MESSAGES/byzer_magic.po"
MODULES = {
    "help": ("commands/",),
    "panel": ("rendering/deployments/", "widgets/panel/", "widgets/plot.py"),
    "form": ("widgets/form/",),
    "chat": ("widgets/chat/", "rendering/answer/view.py", "rendering/answer/code.py"),
    "columns": ("rendering/answer/columns.py",),
    "media": ("rendering/media/",),
    "failure": ("rendering/error_details.py",),
    "footer": ("rendering/footer.py",),
    "progress": ("rendering/progress.py",),
    "recorder": ("widgets/recorder.py",),
}
"""Where the texts of screens are, as the catalog names them."""
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


def violations(*targets: Locator) -> list[str]:
    """Return what axe-core finds wrong within elements of a page: the rule, and the first nodes that break it.

    One call for several: axe-core reads the complete page each time.
    """
    assert AXE.is_file(), "axe-core is not installed; run: npm ci --prefix tests/js"
    page = targets[0].page
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(f"(() => {{ {AXE.read_text()} }})()")  # from the disk; a script tag would ask for a URL
    found = page.evaluate(
        """([include, values]) =>
            window.axe.run({include}, {runOnly: {type: 'tag', values}, resultTypes: ['violations']})""",
        [[target.element_handle() for target in targets], RULES],
    )
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}\n"
        + "\n".join(f"    {_why(node)}" for node in rule["nodes"][:4])
        for rule in found["violations"]
    ]


def _why(node: dict[str, Any]) -> str:
    reasons = "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])
    return f"{node['html'][:160]}  <- {reasons[:240]}"


def accessible(*targets: Locator) -> None:
    """Fail when axe-core finds anything wrong within elements of a page."""
    found = violations(*targets)
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
    """Return the English phrases of these screens (of all, without a name) that `text` has."""
    return [phrase for phrase in _phrases(screens) if re.search(rf"(?<![\w./-]){re.escape(phrase)}(?![\w/-])", text)]


def _phrases(screens: tuple[str, ...]) -> Iterator[str]:
    wanted = tuple(path for screen in screens for path in MODULES[screen])
    for paths, phrases in _catalog():
        if not screens or any(path.startswith(wanted) for path in paths):
            yield from phrases


@functools.cache
def _catalog() -> list[tuple[list[str], list[str]]]:
    """Return where each text of ours is, and its phrases that its translation does not have."""
    with CATALOG.open("rb") as file:
        catalog = read_po(file, locale="zh_CN")
    found = []
    for message in filter(lambda message: message.id, catalog):
        pieces = [piece.strip(" .,:;()…·-\t") for piece in re.split(r"\{[^}]*\}|\n", str(message.id))]
        paths = [path.removeprefix("byzer_magic/") for path, _ in message.locations]
        found.append((paths, [piece for piece in pieces if _is_english(piece) and piece not in str(message.string)]))
    return found


def _is_english(phrase: str) -> bool:
    return len(phrase) > 3 and re.search("[A-Za-z]{3}", phrase) is not None

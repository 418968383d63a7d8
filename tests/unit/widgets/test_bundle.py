"""The modules of a screen as one script."""

from __future__ import annotations

import re

import pytest

from byzer_magic.rendering import assets
from byzer_magic.widgets import recorder
from byzer_magic.widgets.bundle import bundle, files
from byzer_magic.widgets.chat import texts as chat_texts
from byzer_magic.widgets.form import texts as form_texts
from byzer_magic.widgets.panel import texts as panel_texts

SCREENS = ("panel/screen.js", "form/screen.js", "chat/screen.js", "recorder.js")
TOP_LEVEL = re.compile(r"^(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)


@pytest.mark.parametrize("entry", SCREENS)
def test_bundle_has_each_module_once_and_nothing_to_import(entry: str) -> None:
    names = files(entry)
    assert len(names) == len(set(names))
    assert {"kit.js", "mount.js", entry} <= set(names)
    script = bundle(entry)
    assert not re.search(r"^import\b", script, re.MULTILINE)
    assert re.findall(r"^export .*", script, re.MULTILINE) == ["export default {"]


@pytest.mark.parametrize("entry", SCREENS)
def test_bundle_names_differ_at_the_top_level(entry: str) -> None:
    names = TOP_LEVEL.findall(bundle(entry))
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("entry", SCREENS)
def test_bundle_puts_a_module_behind_those_that_it_imports(entry: str) -> None:
    seen: set[str] = set()
    for name in files(entry):
        imported = re.findall(r'^import [^;]*? from ".*?([\w-]+\.js)";', assets.read(name), re.MULTILINE)
        assert set(imported) <= {other.rsplit("/", 1)[-1] for other in seen}
        seen.add(name)


TEXTS = {
    "panel/screen.js": panel_texts.script_texts,
    "form/screen.js": form_texts.script_texts,
    "chat/screen.js": chat_texts.script_texts,
    "recorder.js": lambda: recorder.script_texts("m"),
}


@pytest.mark.parametrize("entry", SCREENS)
def test_bundle_finds_all_its_texts(entry: str) -> None:
    used = set(re.findall(r"\bwords\.(\w+)\b(?!\()", bundle(entry)))
    assert used <= TEXTS[entry]().keys()

"""The modules of a screen as one script."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from byzer_magic.rendering import assets
from byzer_magic.widgets.bundle import bundle, files

STATIC = Path(assets.__file__).parents[1] / "widgets/static"
SCREENS = sorted(
    path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js") if "export default" in path.read_text("utf-8")
)
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


def texts_of(entry: str) -> dict[str, str]:
    """The texts of a screen: `script_texts` of `widgets/NAME/texts.py`, or of `widgets/NAME.py` for `NAME.js`."""
    name = entry.removesuffix(".js").replace("/screen", ".texts")
    function = importlib.import_module(f"byzer_magic.widgets.{name}").script_texts
    found: dict[str, str] = function(*("m" for _ in inspect.signature(function).parameters))
    return found


@pytest.mark.parametrize("entry", SCREENS)
def test_bundle_finds_all_its_texts(entry: str) -> None:
    used = set(re.findall(r"\bwords\.(\w+)\b(?!\()", bundle(entry)))
    assert not used or used <= texts_of(entry).keys()

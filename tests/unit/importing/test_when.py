"""Functions that wait for a module."""

from __future__ import annotations

import subprocess
import sys


def test_function_comes_after_the_module_and_only_once() -> None:
    code = """
import sys, importlib.util
from byzer_magic.importing.when import WhenImported
seen = []
name = "xml.etree.ElementTree"
parent = lambda: sys.modules["xml.etree"]
waits = [WhenImported(name, lambda module: seen.append(parent().ElementTree.parse is module.parse)) for _ in range(2)]
given_up = WhenImported(name, lambda module: seen.append("given up"))
for one in (*waits, waits[0], given_up):
    one.start()
given_up.stop()
assert importlib.util.find_spec(name) and not seen, "who looks for it need not import it"
import xml.etree.ElementTree
print(seen, end=" ")
WhenImported(name, lambda module: seen.append("loaded")).start()
print(seen, *{type(finder).__name__ for finder in sys.meta_path} & {"WhenImported"})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, True] [True, True, 'loaded']"

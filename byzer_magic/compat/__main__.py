"""`python -m byzer_magic.compat SCRIPT [ARG ...]`, or `-m MODULE`: run a program written for byzer-llm, as it is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from byzer_magic.i18n import gettext as _


def main(words: list[str]) -> None:
    """Run a script or a module as Python does.

    Args:
        words: the script and its arguments, or `-m`, the module and its arguments.
    """
    if words[:1] == ["-m"] and words[1:]:
        sys.argv = words[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words and not words[0].startswith("-"):
        sys.argv = words
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")
    else:
        sys.exit(_("Usage: python -m byzer_magic.compat SCRIPT [ARG ...], or -m MODULE [ARG ...]"))


if __name__ == "__main__":
    main(sys.argv[1:])

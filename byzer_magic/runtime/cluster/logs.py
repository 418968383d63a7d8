"""Logs of a deployment's processes on all nodes, including processes that have ended.

Ray keeps the output of a process in files on its node. Files of another node are read by a task there. Unlike a call of
the process itself, this works while it is busy and after it has died; unlike Ray's own log API, without a dashboard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from byzer_magic.runtime.cluster.node import tail

NODE_SECONDS = 20.0
"""How long another node may take to read its files, for which Ray may have to start a process."""


class ProcessId(NamedTuple):
    """A process of the cluster: process ids are unique only within a node."""

    node: str
    pid: int


def here() -> str:
    """Return this node's id."""
    return str(ray.get_runtime_context().get_node_id())


async def tails(processes: Iterable[ProcessId], lines: int) -> list[str]:
    """Return the last lines that each process wrote; where they cannot be read, one line with the reason.

    Args:
        processes: the processes, in the order of the result; duplicates are read once.
        lines: how many lines of each.
    """
    processes = list(dict.fromkeys(processes))
    by_node: dict[str, list[int]] = {}
    for process in processes:
        by_node.setdefault(process.node, []).append(process.pid)
    read = await asyncio.gather(*(_of_node(node, pids, lines) for node, pids in by_node.items()))
    found = {
        ProcessId(node, pid): text for node, texts in zip(by_node, read, strict=True) for pid, text in texts.items()
    }
    return [line for process in processes for line in found[process]]


async def _of_node(node: str, pids: list[int], lines: int) -> dict[int, list[str]]:
    if node == here():
        return await asyncio.to_thread(_read, pids, lines)
    try:
        return await asyncio.wait_for(_of_other_node(node, pids, lines), NODE_SECONDS)
    except TimeoutError:
        why = f"the node did not respond within {NODE_SECONDS:g} s"
    except ray.exceptions.TaskUnschedulableError:
        why = "the node has left the cluster"
    except ray.exceptions.RayError as err:
        why = str(err).strip().splitlines()[-1]
    address = await asyncio.to_thread(_address, node)
    return {pid: [f"(The log of process {pid} on node {address} cannot be read: {why}.)"] for pid in pids}


async def _of_other_node(node: str, pids: list[int], lines: int) -> dict[int, list[str]]:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(_read).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(pids, lines)
    found: dict[int, list[str]] = await task
    return found


def _read(pids: list[int], lines: int) -> dict[int, list[str]]:
    return {pid: tail(pid, lines) for pid in pids}


def _address(node: str) -> str:
    return next((str(each["NodeManagerAddress"]) for each in ray.nodes() if each["NodeID"] == node), node[:8])

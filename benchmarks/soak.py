"""Whether anything is left of deployments: many are made, asked and removed, and what the cluster holds is compared.

    python benchmarks/soak.py --aliases 200

Deployments are made in groups, as many at once as `--together`, each asked once. Before and after, the processes of
this Ray, their descriptors, sockets and memory are counted, and the files in its folder of sockets. Exit status 1 if
there is more of anything afterwards, apart from memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.processes import MARKER, marked, megabytes
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from byzer_magic.types import ChatRequest, Message
from tests.servers.process import openai_api

SETTLE_SECONDS = 15.0
"""How long what was ended may take to be gone."""


@contextmanager
def own_ray() -> Iterator[Manager]:
    """A Ray of its own, whose processes are recognized by a variable."""
    with tempfile.TemporaryDirectory(prefix="bz", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ.update({
            "RAY_TMPDIR": folder, "BYZER_CONFIG": f"{folder}/config.toml", "BYZER_LOCAL_CPUS": "4", MARKER: folder,
        })  # fmt: skip
        manager = Manager()
        manager.ensure()
        try:
            yield manager
        finally:
            manager.shutdown()


def holdings(folder: str) -> dict[str, int]:
    """Return what the processes of a Ray hold."""
    pids = [*marked(folder), os.getpid()]
    kinds = [link for pid in pids for link in _links(pid)]
    return {
        "processes": len(pids),
        "descriptors": len(kinds),
        "sockets": sum(kind.startswith("socket:") for kind in kinds),
        "socket files": sum(1 for _path in Path(folder).rglob("*.sock")),
        "MB": round(sum(map(megabytes, pids))),
    }


def _links(pid: int) -> Iterator[str]:
    with suppress(OSError):  # it has ended, or closed that one
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())


async def cycle(manager: Manager, alias: str, url: str) -> None:
    """Deploy, ask and remove."""
    params = {"saas.base_url": f"{url}/v1", "saas.api_key": "none", "saas.model": "gpt-4o"}
    spec = DeploySpec(model=alias, pretrained_model_type="saas/openai", infer_params=params, cpus_per_worker=0.001)
    async for _event in manager.deploy(manager.plan(spec)):
        pass
    async for _item in manager.ask(alias, ChatRequest(messages=[Message("user", "hello")])):
        pass
    await manager.undeploy(UndeploySpec(model=alias, force=True))


async def group(manager: Manager, names: list[str], url: str) -> None:
    await asyncio.gather(*(cycle(manager, name, url) for name in names))


def main() -> int:
    """Print what there is before and after; return 1 where something is left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--aliases", type=int, default=200, help="deployments in all")
    parser.add_argument("--together", type=int, default=4, help="deployments at once")
    options = parser.parse_args()
    names = [f"m{number}" for number in range(options.aliases)]
    with openai_api() as provider, own_ray() as manager:
        folder = os.environ[MARKER]
        manager.run(group(manager, [f"w{number}" for number in range(options.together)], provider.url))  # warm up
        time.sleep(SETTLE_SECONDS)
        before, began = holdings(folder), time.monotonic()
        for start in range(0, len(names), options.together):
            manager.run(group(manager, names[start : start + options.together], provider.url))
        took = time.monotonic() - began
        deadline = time.monotonic() + SETTLE_SECONDS
        while (after := holdings(folder)) and _more(before, after) and time.monotonic() < deadline:
            time.sleep(0.5)
    print(f"{options.aliases} deployments, {options.together} at once: {took:.0f} s")
    for name, count in before.items():
        print(f"{name:14} {count:6} before {after[name]:6} after")
    return 1 if _more(before, after) else 0


def _more(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return [name for name in before if name != "MB" and after[name] > before[name]]


if __name__ == "__main__":
    sys.exit(main())

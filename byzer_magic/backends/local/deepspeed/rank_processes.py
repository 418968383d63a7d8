"""A model that is split over several processes by DeepSpeed: the worker is rank 0, the others follow it step by step.

Every rank calls `generate` with the same arguments; only rank 0 has the requests, and broadcasts each token and
which rows are done. https://www.deepspeed.ai/tutorials/automatic-tensor-parallelism/.

Imports torch and transformers, so it is imported in workers only. `python -m` of it is a follower.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed as dist
from transformers import StoppingCriteria

from byzer_magic.backends.base import Setup
from byzer_magic.backends.engine import loading, threads
from byzer_magic.backends.local.transformers import (
    check as transformers_check,
    engine as transformers_engine,
    load as transformers_load,
)
from byzer_magic.errors import ByzerError, EngineFailed
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models.files import Weights

GRACE_SECONDS = 10
"""How long a follower that cannot load the model waits, so that rank 0 can report the same error first."""
END_SECONDS = 5
"""How long the followers may take to end."""


class Followers(transformers_engine.Lockstep):
    """Rank 0's handle of the processes of the other ranks."""

    def __init__(self, setup: Setup, ranks: int, threads: int) -> None:
        self._group: Any = None
        self._ending = threading.Event()
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks)}
        self._common = common
        os.environ |= {**common, "RANK": "0", "LOCAL_RANK": "0"}
        order = json.dumps({**dataclasses.asdict(setup), "params": dict(setup.params), "threads": threads})
        self._processes = [_start(rank, common, order) for rank in range(1, ranks)]
        self._watchers = [
            threading.Thread(target=self._watch, args=(process,), name="follower", daemon=True)
            for process in self._processes
        ]
        for watcher in self._watchers:
            watcher.start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End this process when a follower has died: it would wait for it forever."""
        code = process.wait()
        if self._ending.is_set():
            return
        sys.stderr.write(f"A process of the model ended with code {code}; this worker exits.\n")
        os._exit(1)

    def join(self) -> None:
        """Create the process group; called in all ranks when the model is loaded."""
        self._group = dist.new_group(backend="gloo")

    def begin(self, call: dict[str, Any]) -> dict[str, Any]:
        """Send the others the arguments of `generate`."""
        dist.broadcast_object_list([call], src=0, group=self._group)
        return call

    def agree(self, tokens: torch.Tensor, done: torch.Tensor) -> torch.Tensor:
        """Send the others the tokens and which rows are done."""
        dist.broadcast(torch.stack([tokens.cpu(), done.long()]), src=0, group=self._group)
        return done

    def lost(self) -> None:
        """End this process: the others wait in a step that will not continue."""
        sys.excepthook(*sys.exc_info())
        os._exit(1)

    @property
    def alone(self) -> bool:
        """Always false: the others would wait in a forward pass that this rank leaves."""
        return False

    def close(self) -> None:
        """End all ranks."""
        self._ending.set()
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for watcher in self._watchers:
            watcher.join()
        if dist.is_initialized():
            dist.destroy_process_group()
        for name in ("RANK", "LOCAL_RANK", *self._common):
            os.environ.pop(name, None)


def _start(rank: int, common: Mapping[str, str], order: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    env = {**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": paths}
    command = [sys.executable, "-m", __name__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env)  # noqa: S603 - it is this module
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.write(order.encode() + b"\n")
    process.stdin.flush()
    return process


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def wrapped(setup: Setup, weights: Weights, ranks: int) -> tuple[Any, Any, Any, int]:
    """Return DeepSpeed's engine around this rank's share of the model, its network, the tokenizer and the context.

    Raises:
        EngineFailed: DeepSpeed cannot run it here.
        Exception: whatever transformers or DeepSpeed raises.
    """
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # it would look for one, and warn
    import deepspeed

    if not on_gpu:  # its own all-reduce would be compiled now, which takes a minute; gloo has one
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if ranks > 1:
        deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo", verbose=False)
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    network, tokenizer, context = transformers_load.load(setup, weights, "cpu" if ranks > 1 else None)
    try:
        engine = deepspeed.init_inference(network, **_arguments(setup.params, network, ranks, context))
    except ByzerError:
        raise
    except Exception as err:  # the engine's code may raise anything
        if threads.out_of_memory(err):
            raise loading.failed("DeepSpeed", weights.path, err) from err
        raise EngineFailed(
            _("DeepSpeed cannot run {path}: {split}", path=weights.path, split=" ".join(str(err).split())[:300]),
            _hint(err),
        ) from err
    return engine, engine.module, tokenizer, context


def _arguments(params: Mapping[str, Any], network: Any, ranks: int, context: int) -> dict[str, Any]:
    chosen = {name: True for name in ("replace_with_kernel_inject", "enable_cuda_graph") if params[name]}
    return {
        "dtype": network.dtype,
        "tensor_parallel": {"tp_size": ranks},
        "max_out_tokens": params.get("max_out_tokens", context),
        **chosen,
        **params.get("init_inference", {}),
    }


def _hint(err: Exception) -> str:
    if "divi" in str(err) or "shard" in str(err):
        return _("Choose a tp_size that divides the number of attention heads.")
    return _("Try replace_with_kernel_inject=false, or --infer_backend transformers.")


class _Follow(StoppingCriteria):  # type: ignore[misc]  # transformers publishes no types
    """Follows rank 0 after each token."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        received = torch.empty((2, len(input_ids)), dtype=torch.long)
        dist.broadcast(received, src=0, group=self._group)
        input_ids[:, -1] = received[0].to(input_ids.device)
        return received[1].bool().to(input_ids.device)


def follow(order: IO[bytes]) -> None:
    """Run as one of the other ranks until rank 0 ends."""
    given = json.loads(order.readline())
    threading.Thread(target=_end_with, args=(order,), name="leader", daemon=True).start()
    torch.set_num_threads(given.pop("threads"))
    setup = Setup(**given)
    engine, network, tokenizer, context = wrapped(setup, transformers_check.check(setup), int(os.environ["WORLD_SIZE"]))
    group = dist.new_group(backend="gloo")
    model = transformers_engine.Model(network, tokenizer, context, transformers_engine.Lockstep())
    model.generate = engine.generate
    while True:
        calls: list[Any] = [None]
        dist.broadcast_object_list(calls, src=0, group=group)
        transformers_engine.run(model, calls[0], _Follow(group))


def _end_with(pipe: IO[bytes]) -> None:
    """End this process when the other end of the pipe is closed, however rank 0 ended."""
    pipe.read()
    os._exit(0)


if __name__ == "__main__":
    try:
        follow(sys.stdin.buffer)
    except Exception:  # noqa: BLE001 - the outermost
        sys.excepthook(*sys.exc_info())
        time.sleep(GRACE_SECONDS)
        raise SystemExit(1) from None

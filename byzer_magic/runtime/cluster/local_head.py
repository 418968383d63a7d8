"""`python -m byzer_magic.runtime.cluster.local_head`: keeps the local Ray alive, apart from the notebook that asked.

A Ray that a notebook starts for itself dies with its kernel, and so would every deployment. This process owns the
node instead: it starts Ray, says where it is, and takes it down again when it gets SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Requests do not pass through Ray's object store, so a small one will do."""


def main() -> None:
    """Leave the caller (who reads the new process's pid from stdout), then hold a Ray."""
    if pid := os.fork():
        print(pid, flush=True)
        return
    os.setsid()  # a Ctrl-C in the notebook's terminal must not reach it
    os.dup2(2, 1)  # the caller waits for the end of stdout
    hold(*map(int, sys.argv[1:]))


def hold(cpus: int, gpus: int) -> None:
    """Start Ray with so many CPUs (0: the machine's) and GPUs (-1: those it finds); hold it until SIGTERM or SIGINT."""
    # Ray lowers its workers' priority (nice 15), meant for batch jobs; ours answer people.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray  # after the fork, which Ray's threads would not survive
    from ray._common.utils import reset_ray_address
    from ray._private.utils import write_ray_address

    from byzer_magic.runtime.cluster.connect import head_file

    done = threading.Event()
    ray.init(
        address="local",  # a new one, whatever an earlier Ray has left behind
        num_cpus=cpus or None,
        num_gpus=None if gpus < 0 else gpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        namespace="byzer-head",
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # after ray.init, which installs its own
        signal.signal(number, lambda *_: done.set())
    address = ray.get_runtime_context().gcs_address
    head_file().write_text(json.dumps({"pid": os.getpid(), "address": address}), encoding="utf-8")
    write_ray_address(address)  # so that address="auto", of anyone, finds this cluster
    done.wait()
    head_file().unlink(missing_ok=True)
    reset_ray_address()
    ray.shutdown()


if __name__ == "__main__":
    main()

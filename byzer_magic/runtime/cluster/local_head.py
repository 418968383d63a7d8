"""`python -m byzer_magic.runtime.cluster.local_head`: the process that holds the local Ray.

A Ray that a notebook starts itself ends with its kernel, and so would every deployment. This process starts the node
instead, writes its address to a file, and stops it on SIGTERM (decision 004).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Requests do not pass through Ray's object store, so a small one suffices."""


def main() -> None:
    """Detach from the caller, which reads the pid of the new process from stdout, then hold a Ray."""
    if pid := os.fork():
        print(pid, flush=True)
        return
    os.setsid()  # Ctrl-C in the terminal must not reach this process
    os.dup2(2, 1)  # the caller reads stdout to its end
    hold(*map(int, sys.argv[1:]))


def hold(cpus: int, gpus: int) -> None:
    """Start Ray and hold it until SIGTERM or SIGINT.

    Args:
        cpus: CPUs that Ray may assign; 0: all of this machine.
        gpus: GPUs that Ray may assign; -1: all that Ray detects.
    """
    # Ray lowers the priority of its workers to nice 15, for batch jobs; ours serve interactive requests.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray  # after the fork, which Ray's threads would not survive
    from ray._common.utils import reset_ray_address
    from ray._private.utils import write_ray_address

    from byzer_magic.runtime.cluster.connect import head_file

    done = threading.Event()
    ray.init(
        address="local",  # a new cluster, even where RAY_ADDRESS or the files of an earlier Ray name one
        num_cpus=cpus or None,
        num_gpus=None if gpus < 0 else gpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        namespace="byzer-head",
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # after ray.init, which installs handlers of its own
        signal.signal(number, lambda *_: done.set())
    address = ray.get_runtime_context().gcs_address
    head_file().write_text(json.dumps({"pid": os.getpid(), "address": address}), encoding="utf-8")
    write_ray_address(address)  # so that ray.init(address="auto") in any process finds this cluster
    done.wait()
    head_file().unlink(missing_ok=True)
    reset_ray_address()
    ray.shutdown()


if __name__ == "__main__":
    main()

"""`python -m byzer_magic.runtime.head`: keeps the local Ray alive, apart from the notebook that asked for it.

A Ray that a notebook starts for itself dies with its kernel, and so would every deployment. This process owns the
node instead: it starts Ray, says where it is, and takes it down again when it gets SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import ray
from ray._private.utils import write_ray_address

from byzer_magic.runtime.cluster import head_file

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Requests do not pass through Ray's object store, so a small one will do."""


def main() -> None:
    """Start Ray and hold it until SIGTERM or SIGINT."""
    done = threading.Event()
    cpus = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    ray.init(
        num_cpus=cpus or None,
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
    ray.shutdown()


if __name__ == "__main__":
    main()

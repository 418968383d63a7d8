"""`python -m byzer_magic.runtime.cluster.local_head`: the process that holds the local Ray.

A Ray that a notebook starts itself ends with its kernel, and so would every deployment. This process starts the node
instead, writes its address to a file, and stops it on SIGTERM (decision 004). While it starts, it reports on a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from typing import Any

from byzer_magic.runtime.cluster import own_node

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Requests do not pass through Ray's object store, so a small one suffices."""
ESSENTIAL = ("gcs_server", "raylet")
"""The processes without which there is no Ray, as Ray names them."""
POLL_SECONDS = 0.1


def main() -> None:
    """Detach from the caller, which reads the pid of the new process from stdout, then hold a Ray."""
    cpus, gpus, pipe = map(int, sys.argv[1:])
    if pid := os.fork():
        print(pid, flush=True)
        return
    os.setsid()  # Ctrl-C in the terminal must not reach this process
    os.dup2(2, 1)  # the caller reads stdout to its end
    os.set_inheritable(pipe, False)  # noqa: FBT003 - its end tells the caller that this process has ended
    Holder(pipe).hold(cpus, gpus)


class Holder:
    """Starts a Ray and holds it.

    Args:
        pipe: where it reports while it starts, a JSON object per line: ``stage``, then ``address``, ``died`` and
            ``code``, or ``failed``; with the folder of ``logs`` as soon as there is one. A start that nobody waits for
            any longer is given up.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._node: Any = None
        self._stage = ""
        self._up = threading.Event()
        self._stop = threading.Event()

    def hold(self, cpus: int, gpus: int) -> None:
        """Start Ray and hold it until SIGTERM, SIGINT, or the end of one of its essential processes.

        Args:
            cpus: CPUs that Ray may assign; 0: all of this machine.
            gpus: GPUs that Ray may assign; -1: all that Ray detects.
        """
        threading.Thread(target=self._watch, name="byzer-watch", daemon=True).start()
        try:
            address = self._start(cpus, gpus)
        except BaseException as err:  # noqa: BLE001 - whatever it is, the caller shows it
            traceback.print_exc()
            self._give_up(failed=traceback.format_exception_only(err)[-1].strip().splitlines()[0])
        for number in (signal.SIGTERM, signal.SIGINT):  # after ray.init, which installs handlers of its own
            signal.signal(number, lambda *_: self._stop.set())
        import ray

        from byzer_magic.runtime.cluster import attach, this_machine

        attach.start_controller()
        with this_machine.announced(address):
            self._up.set()
            self._report(address=address)
            os.close(self._pipe)
            while not self._stop.wait(1) and not self._dead():
                own_node.serve_programs(self._node)
        ray.shutdown()

    def _start(self, cpus: int, gpus: int) -> str:
        """Start a Ray in this user's folder; return its address."""
        os.environ |= own_node.ENVIRONMENT | os.environ
        os.environ.pop("RAY_ADDRESS", None)  # it is not this cluster's, but its workers would inherit it
        from byzer_magic.runtime.cluster import discovery, leftovers, preload
        from byzer_magic.runtime.cluster.auth_token import keep_new_token_private
        from byzer_magic.runtime.cluster.own_folder import own_folder
        from byzer_magic.runtime.cluster.ray_import import import_ray

        os.environ[preload.VARIABLE] = str(own_folder() / "byzer_spare")
        discovery.remove_dead()
        leftovers.remove_dead()
        self._report(stage="Ray")
        ray: Any = import_ray()  # after the fork, which Ray's threads would not survive

        own_node.patch(self.began)
        keep_new_token_private()
        ray.init(
            address="local",  # a new cluster, even where RAY_ADDRESS or the files of an earlier Ray name one
            num_cpus=cpus or None,
            num_gpus=None if gpus < 0 else gpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            namespace=own_node.HEAD_NAMESPACE,
            _temp_dir=str(own_folder() / "ray"),
        )
        address: str = ray.get_runtime_context().gcs_address
        return address

    def began(self, node: Any) -> None:
        """Keep the node that Ray is starting, whose processes are watched from now on."""
        self._node = node

    def _watch(self) -> None:
        """While Ray starts, give up when one of its processes has ended, or when nobody waits for it any longer."""
        waits = select.poll()
        waits.register(self._pipe, 0)
        while not self._up.wait(POLL_SECONDS):
            if waits.poll(0):  # POLLERR: the caller has closed its end
                _kill_session()
            if dead := self._dead():
                self._give_up(died=dead[0], code=dead[1])
            stage = next((name for name in reversed(ESSENTIAL) if name in self._processes()), "")
            if stage and stage != self._stage:
                self._stage = stage
                self._report(stage=stage)

    def _dead(self) -> tuple[str, int] | None:
        """Return the name and the exit code of an essential process that has ended, else None."""
        for name, infos in self._processes().items():
            for info in infos if name in ESSENTIAL else ():
                if (code := info.process.poll()) is not None:
                    return name, code
        return None

    def _processes(self) -> dict[str, Any]:
        return dict(getattr(self._node, "all_processes", {}))

    def _report(self, **what: Any) -> None:
        if self._processes():
            what["logs"] = str(self._node.get_logs_dir_path())
        with contextlib.suppress(OSError):  # the caller has gone
            os.write(self._pipe, json.dumps(what).encode() + b"\n")

    def _give_up(self, **why: Any) -> None:
        """Report why Ray does not start, and end with all processes of it."""
        time.sleep(POLL_SECONDS)  # a process that has ended may have been killed with another one, whose log is late
        self._report(**why)
        sys.stderr.flush()
        _kill_session()


def _kill_session() -> None:
    from byzer_magic.runtime.cluster.processes import kill_session

    kill_session(os.getpid())
    os._exit(1)


if __name__ == "__main__":
    main()

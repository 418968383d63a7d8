"""The file that worker processes of the local Ray run, in place of Ray's own of this name, with which they go on.

Its path is Ray's parameter `worker_path`, its name one that `ray stop` knows. Ray is imported here, since each worker
would otherwise import what Ray does not use (`ray_import`), and look through all of Ray's objects again whenever it
collects garbage.
"""

from __future__ import annotations

import gc
import os
import runpy
import sys


def main() -> None:
    """Import Ray, then run its worker with the arguments of this process."""
    own = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as Python has put it into the path
    in_path = bool(sys.path) and sys.path[0] == own
    if in_path:  # the modules of this folder are not to be found by their last names
        del sys.path[0]
    gc.disable()
    try:
        from byzer_magic.runtime.cluster.ray_import import import_ray
    except ImportError:  # a runtime environment with another Python
        import ray
    else:
        ray = import_ray()
    gc.enable()
    gc.freeze()
    folder = os.path.join(os.path.dirname(ray.__file__), "_private", "workers")  # noqa: PTH118, PTH120
    if in_path:
        sys.path.insert(0, folder)
    runpy.run_path(os.path.join(folder, "default_worker.py"), run_name="__main__")  # noqa: PTH118


if __name__ == "__main__":
    main()

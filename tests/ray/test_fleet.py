"""Deployments outlive their Ray: they come back with the next one, and engines that nobody asks sleep."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from byzer_magic.runtime.cluster import discovery
from tests.conftest import KEY, Shell
from tests.ray.test_deploy import COMMAND_SECONDS
from tests.servers.process import Process, received, release
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.ray


def states(shell: Shell) -> dict[str, str]:
    """Return what is wanted, and how it is."""
    found = shell("fleet", "--json").stdout
    return {row["model"]: row["state"] for row in json.loads(found[found.index("[") :])}


def deploy_api(shell: Shell, provider: Process, alias: str, key: str, *options: str) -> None:
    params = [f"saas.base_url={provider.url}/v1", f"saas.api_key={key}", "saas.model=gpt-4o"]
    done = shell(
        "deploy", "--pretrained_model_type", "saas/openai", "--model", alias, *options, "--infer_params", *params
    )
    assert done.returncode == 0, done.stderr


def test_deployments_come_back_with_the_next_ray(apart: Shell, provider: Process, gguf: Path) -> None:
    (apart.folder / ".env").write_text(f"KEY_OF_ANN={KEY}\n")
    deploy_api(apart, provider, "by_name", "${KEY_OF_ANN}")
    deploy_api(apart, provider, "typed", KEY)
    engine = ["--infer_backend", "llama_cpp", "--model_path", str(gguf), "--cpus_per_worker", "1.5"]
    params = ["--infer_params", "driver=xllamacpp", "n_ctx=512", "max_tokens=8"]
    assert apart("deploy", *engine, "--idle", "2s", "--model", "small", *params).returncode == 0
    assert apart("scale", "--model", "by_name", "--num_workers", "3").returncode == 0
    file = Path(apart.env["BYZER_CONFIG"]).parent / "fleets" / "local.json"
    assert eventually(lambda: '"num_workers": 3' in file.read_text())
    assert eventually(lambda: states(apart)["small"].startswith("asleep: no requests for 2s"), pause=COMMAND_SECONDS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY not in file.read_text()
    assert apart("shutdown").returncode == 0

    assert apart("query", "--model", "by_name", "--query", "hello").stdout.strip() == "Echo: hello"
    now = states(apart)
    assert now["by_name"] == "up"
    assert now["small"] == "asleep"
    assert "saas.api_key was typed" in now["typed"]
    refused = apart("query", "--model", "typed", "--query", "hello")
    assert "typed is not running: saas.api_key was typed in the command" in refused.stderr
    assert json.loads(apart("stat", "--model", "by_name", "--json").stdout)["total_workers"] == 3

    assert apart("query", "--model", "small", "--query", "Say hello.").stdout.strip()
    assert eventually(lambda: states(apart)["small"].startswith("asleep"), pause=COMMAND_SECONDS)

    deploy_api(apart, provider, "typed", KEY)  # without --replace: nobody has deployed it in this Ray
    deploy_api(apart, provider, "by_name", KEY)
    again = apart("deploy", "--pretrained_model_type", "saas/openai", "--model", "by_name")
    assert re.search(r"already deployed|saas\.", again.stderr)
    assert apart("undeploy", "--model", "typed").returncode == 0
    assert set(states(apart)) == {"by_name", "small"}

    limits = ["--min_workers", "0", "--max_workers", "2", "--idle", "60s"]  # on the two CPUs, there is room for one
    assert apart("deploy", *engine, *limits, "--model", "other", *params).returncode == 0
    assert apart("query", "--model", "small", "--query", "Say hello.").stdout.strip()
    assert states(apart)["other"] == "asleep: made room for small"
    assert apart("query", "--model", "other", "--query", "Say hello.").stdout.strip()
    assert states(apart)["other"] == "up"
    assert apart("stat").stdout.count("1/1 (0-2)") == 1


def test_queue_brings_workers_within_the_limits_and_quiet_takes_them(
    cluster: Manager, shell: Shell, provider: Process, tmp_path: Path
) -> None:
    deploy_api(shell, provider, "elastic", KEY, "--max_workers", "3", "--min_workers", "1", "--idle", "3s")
    words = [sys.executable, "-c", "from byzer_magic.cli import main; main()", "query", "--model", "elastic"]
    before, asking = received(provider), []
    for name in ("stays", "ends"):
        query = [*words, "--query", f"rest:{name} tokens:400"]
        asking.append(subprocess.Popen(query, env=shell.env, cwd=shell.folder, stdout=subprocess.PIPE))
        assert eventually(lambda: received(provider) > before)  # the second one waits for a worker
    assert eventually(lambda: workers(cluster) == 2)
    beyond = shell("scale", "--model", "elastic", "--num_workers", "4")
    assert "elastic scales by itself between 1 and 3 workers." in beyond.stderr
    shown = shell("stat").stdout
    assert "2/2 (1-3)" in shown
    release(provider, "ends")
    assert eventually(lambda: workers(cluster) == 1)
    release(provider, "stays")
    for process in asking:
        assert len(process.communicate(timeout=PATIENCE)[0].split()) == 400  # none is cut as workers go
    assert "no more were needed for 3s" in str(cluster.run(cluster.stat("elastic")).scaled)
    file = tmp_path / "elastic.yaml"
    assert shell("export", str(file)).returncode == 0
    assert "min_workers: 1\nmax_workers: 3\n" in file.read_text()
    assert shell("update", "--model", "elastic", "--min_workers", "2").returncode == 0
    assert workers(cluster) == 2
    assert shell("undeploy", "--model", "elastic", "--force").returncode == 0


def workers(cluster: Manager) -> int:
    return len(cluster.run(cluster.stat("elastic")).workers)


def test_deployments_that_are_not_to_come_back_do_not(apart: Shell, provider: Process) -> None:
    (apart.folder / ".env").write_text(f"KEY_OF_ANN={KEY}\n")
    deploy_api(apart, provider, "gpt", "${KEY_OF_ANN}")
    assert apart("shutdown").returncode == 0
    apart.env["BYZER_RESTORE"] = "false"
    assert states(apart) == {"gpt": "not running"}
    assert "Nothing is deployed" in apart("list").stderr


def test_update_takes_over_without_a_break_or_changes_nothing(
    cluster: Manager, shell: Shell, provider: Process, gguf: Path
) -> None:
    deploy_api(shell, provider, "renewed", KEY)
    words = [sys.executable, "-c", "from byzer_magic.cli import main; main()", "query", "--model", "renewed"]
    streaming = subprocess.Popen(
        [*words, "--query", "rest:updated tokens:150"],
        env=shell.env,
        cwd=shell.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert eventually(lambda: busy(shell, "renewed"))
    done = shell(
        "update", "--model", "renewed", "--num_workers", "3", "--infer_params", "saas.model=gpt-4o-mini", "--check"
    )
    assert done.returncode == 0, done.stderr
    assert "check passed" in done.stderr
    assert shell("query", "--model", "renewed", "--query", "hello").stdout.strip() == "Echo: hello"
    release(provider, "updated")
    assert len(str(streaming.communicate(timeout=PATIENCE)[0]).split()) == 150
    assert cluster.run(cluster.stat("renewed")).title == "gpt-4o-mini"

    refused = shell("update", "--model", "renewed", "--infer_params", "saas.model=no-such-model", "--check")
    assert refused.returncode == 1
    assert "no-such-model" in refused.stderr
    assert shell("query", "--model", "renewed", "--query", "still here").stdout.strip() == "Echo: still here"

    engine = ["--pretrained_model_type", "custom/auto", "--infer_backend", "llama_cpp", "--model_path", str(gguf)]
    params = ["--infer_params", "driver=xllamacpp", "n_ctx=512", "max_tokens=8"]
    assert shell("update", "--model", "renewed", *engine, "--num_workers", "1", *params).returncode == 0
    assert "custom/auto" in shell("list").stdout
    assert shell("query", "--model", "renewed", "--query", "Say hello.").stdout.strip()
    pool = discovery.announced("renewed")
    assert pool is not None
    os.kill(pool.pid, signal.SIGKILL)  # the next process has the plan of the update
    assert shell("query", "--model", "renewed", "--query", "Say hello.").stdout.strip()
    assert shell("undeploy", "--model", "renewed", "--force").returncode == 0


def busy(shell: Shell, alias: str) -> bool:
    return bool(json.loads(shell("stat", "--model", alias, "--json").stdout)["busy_workers"])

"""A planted key is hunted for everywhere that Ray and we could leave it, on a Ray with its dashboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.runtime.cluster.ray_import import child_environment
from tests.conftest import KEY, short_folder
from tests.servers.process import Process, free_port
from tests.waiting import PATIENCE

pytestmark = pytest.mark.ray

SCRIPT = """
import json, os, sys
import ray
port, provider, key, out = sys.argv[1:]
dashboard = f"http://127.0.0.1:{port}"  # other Rays may run on this machine
ray.init(num_cpus=2, include_dashboard=True, dashboard_port=int(port), namespace="planted")
import byzer_magic as bz
from byzer_magic import errors
params = f"--infer_params saas.base_url={provider}/v1 saas.api_key={key} saas.model=gpt-4o"
params += f" saas.extra_headers='{{\\"X-Other\\": \\"{key}\\"}}'"
texts = []
model = bz.deploy(f"deploy --pretrained_model_type saas/openai {params} --model planted")
texts += [repr(model), model.chat("hello").text, repr(model.stat())]
for prompt in ("fault:leak", "fault:500", "fault:garbage"):
    try:
        model.chat(prompt)
    except errors.ByzerError as err:
        texts += [str(err), repr(err), repr(err.details)]
try:
    bz.deploy(f"deploy --pretrained_model_type saas/openai {params} saas.nonsense={key} --model other")
except errors.ByzerError as err:
    texts += [str(err)]
from ray.util import state
for name in ("actors", "tasks", "workers", "runtime_envs", "jobs", "nodes", "objects"):
    listed = getattr(state, f"list_{name}")
    texts.append(repr(listed(address=dashboard, detail=True, raise_on_missing_output=False)))
texts.append(repr(state.get_actor(state.list_actors(address=dashboard)[0].actor_id, address=dashboard)))
with open(out, "w") as file:
    json.dump({"texts": texts, "session": ray._private.worker._global_node.get_session_dir_path()}, file)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def planted(provider: Process) -> Iterator[tuple[list[str], Path, int, int]]:
    """The output of a deployment with the key, its Ray's session folder, the dashboard's port, the driver's pid."""
    with short_folder() as folder:
        env = {**os.environ, "RAY_TMPDIR": folder, "PYTHONPATH": str(Path(__file__).parents[2]), "OUT_KEY": ""}
        env = child_environment(env)  # as a local Ray of ours has it: its processes start sooner
        port, out = free_port(), Path(folder) / "out.json"
        (script := Path(folder) / "script.py").write_text(SCRIPT)
        driver = subprocess.Popen(
            [sys.executable, str(script), str(port), provider.url, "${PLANTED}", str(out)],
            env={**env, "PLANTED": KEY},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert driver.stdout
            reported = next((line for line in driver.stdout if line.startswith("ready")), "")
            assert reported, "the script has failed: its error is above"
            found = json.loads(out.read_text())
            yield found["texts"], Path(found["session"]), port, driver.pid
        finally:
            assert driver.stdin
            assert driver.stdout
            driver.stdin.close()
            driver.wait(60)
            driver.stdout.close()


def test_secret_is_in_no_text_and_no_state_api(planted: tuple[list[str], Path, int, int]) -> None:
    texts, *_ = planted
    assert any("planted" in text for text in texts), "the deployment itself is to be seen"
    assert not [text[:200] for text in texts if KEY in text]


@pytest.mark.parametrize("page", ["actors?detail=1", "tasks?detail=1", "workers?detail=1", "runtime_envs?detail=1"])
def test_secret_is_not_on_the_dashboard(planted: tuple[list[str], Path, int, int], page: str) -> None:
    _, _, port, _ = planted
    token = Path.home() / ".ray" / "auth_token"
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v0/{page}", headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        shown = answer.read().decode()
    assert "planted" in shown or not page.startswith("actors")
    assert KEY not in shown


def test_secret_is_in_no_log_or_session_file(planted: tuple[list[str], Path, int, int]) -> None:
    _, session, *_ = planted
    files = [path for path in session.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_secret_is_in_no_command_line(planted: tuple[list[str], Path, int, int]) -> None:
    seen = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if b"ray::" in line or b"byzer" in line:
            seen += 1
            assert KEY.encode() not in line
    assert seen

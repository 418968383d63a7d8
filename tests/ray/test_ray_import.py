"""What Ray imports and does not use is loaded by no process of ours or of the local Ray (decision 009)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from byzer_magic.client.manager import Manager
from tests.conftest import Shell
from tests.ray.test_deploy import deploy, saas
from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

DRIVER = """
import sys
from byzer_magic.runtime.cluster.auth_token import use_token

use_token()
import ray

def loaded():
    return sorted({*sys.modules} & {
        "rfc3987_syntax.syntax_helpers", "lark", "jsonschema", "requests",
        "pyarrow", "pydantic.v1.fields", "starlette.datastructures", "ray.dashboard.optional_deps",
    })

ray.init(address="auto", log_to_driver=False)
names = sorted((entry["namespace"], entry["name"]) for entry in ray.util.list_named_actors(all_namespaces=True))
own = [(namespace, name) for namespace, name in names if namespace.startswith("byzer")]  # others import what they like
actors = [ray.get_actor(name, namespace=namespace) for namespace, name in own]
calls = [actor.__ray_call__.remote(lambda _self: loaded()) for actor in actors]
print(len(actors), ray.get([ray.remote(loaded).remote(), *calls]))
"""


def test_controller_pool_and_other_workers_have_not_loaded_it(
    manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    (script := shell.folder / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=shell.env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 [[], [], []]"


def test_shell_command_has_not_loaded_the_grammar(shell: Shell, manager: Manager) -> None:
    shell.env |= {"PYTHONVERBOSE": "1"}  # names each imported module on stderr
    done = shell("list")
    assert done.returncode == 0
    assert "import 'byzer_magic.client.manager'" in done.stderr
    assert "import 'lark'" not in done.stderr

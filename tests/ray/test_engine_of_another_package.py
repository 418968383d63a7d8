"""An engine of another package on a Ray that can import it: deployed by its model's file, and asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Shell
from tests.packages import install

pytestmark = pytest.mark.ray


def test_engine_of_another_package_is_deployed_and_chats(shell: Shell, tmp_path: Path, ray_folder: Path) -> None:
    site = install("acme_engine", tmp_path / "acme")
    model = tmp_path / "tiny.acme"
    model.write_text('{"greeting": "Hello"}')
    # A separate Ray: only processes that start with the package on their path can import it.
    path = os.pathsep.join([shell.env["PYTHONPATH"], str(site)])
    shell.env = {**shell.env, "PYTHONPATH": path, "RAY_TMPDIR": str(ray_folder)}
    try:
        deployed = shell("deploy", "--model", "acme", "--model_path", str(model), "--cpus_per_worker", "0.001")
        assert deployed.returncode == 0, deployed.stderr
        assert "acme: acme, because tiny.acme is an Acme model" in deployed.stderr
        answer = shell("query", "--model", "acme", "--query", "big wide world")
        assert (answer.returncode, answer.stdout.strip()) == (0, "Hello big wide world"), answer.stderr
    finally:
        shell("shutdown")

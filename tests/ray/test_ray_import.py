"""No process of ours or of the local Ray loads rfc3987_syntax with Ray (decision 009)."""

from __future__ import annotations

import sys

import pytest

from byzer_magic.client.manager import Manager
from tests.conftest import Shell

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def loaded() -> list[str]:
    """Return which of the modules are loaded that make `import ray` slow."""
    return [name for name in ("rfc3987_syntax.syntax_helpers", "lark") if name in sys.modules]


def test_ray_worker_has_not_loaded_the_grammar(manager: Manager) -> None:
    import ray

    manager.ensure()
    assert ray.get(ray.remote(loaded).remote()) == []


def test_shell_command_has_not_loaded_the_grammar(shell: Shell, manager: Manager) -> None:
    shell.env |= {"PYTHONVERBOSE": "1"}  # names each imported module on stderr
    done = shell("list")
    assert done.returncode == 0
    assert "import 'ray'" in done.stderr
    assert "import 'lark'" not in done.stderr

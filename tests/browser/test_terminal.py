"""IPython in a terminal: every command answers in text."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pexpect
import pytest

from tests.browser.conftest import Lab, Models
from tests.browser.driver import ARTEFACTS, Server
from tests.kernel import saved
from tests.servers.process import Process

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Runner = Callable[..., str]
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_terminal_shows_every_output_as_text(ipython: Runner, lab: Lab, provider: Process, models: Models) -> None:
    shown = ipython([*saved.cells(provider.url, lab.folder)], seconds=240)
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "terminal.txt").write_text(shown)
    assert saved.leaks(shown) == []
    assert not re.search(r"</?(div|span|table|details|style)\b", shown), "no HTML in a terminal"
    assert "Traceback" not in shown
    assert "<IPython" not in shown
    for text in ("Echo: hello", "the blue sky", "invalid API key (401)", "Did you mean --num_workers?", "saas/openai"):
        assert text in shown
    assert models.manager.connected


@pytest.fixture
def terminal(server: Server) -> pexpect.spawn:
    """IPython as a person uses it: with a terminal, its colours and its Tab key."""
    env = server.env | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = pexpect.spawn(
        sys.executable, ["-m", "IPython", "--no-banner", "--no-confirm-exit"], env=env, cwd=str(server.folder),
        encoding="utf-8", timeout=60, dimensions=(40, 120),
    )  # fmt: skip
    child.expect("In .*1.*: ")
    yield child
    child.close(force=True)


def test_terminal_completes_interrupts_and_helps(terminal: pexpect.spawn, models: Models) -> None:
    models.deploy("m")
    terminal.sendline("%load_ext byzer_magic")
    terminal.expect("In .*2.*: ")
    terminal.send("%byzer deploy --infer_b\t")
    terminal.expect("ackend", timeout=20)
    terminal.sendcontrol("c")
    terminal.sendline("%chat m hello")
    terminal.expect("Echo: hello", timeout=60)
    terminal.sendline("%chat m tokens:2000@20")
    terminal.expect("t12 ", timeout=60)
    terminal.sendcontrol("c")
    terminal.expect("Interrupted", timeout=20)
    terminal.sendline("%byzer stta")
    terminal.expect("Did you mean stat", timeout=20)
    assert "Traceback" not in COLOURS.sub("", terminal.before)
    terminal.sendline("%byzer?")
    terminal.expect("Deploy a SaaS model or local weights", timeout=20)

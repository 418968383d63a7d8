"""IPython in a terminal, as a person uses it; `test_every_output.py` has what each command prints."""

from __future__ import annotations

import re
import signal
import sys

import pexpect
import pytest

from tests.browser.conftest import Models
from tests.browser.driver import Server

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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
    if child.isalive():
        child.kill(signal.SIGKILL)
        child.wait()  # on a busy machine it is not gone after the tenth of a second that `close` gives it
    child.close()


def test_terminal_completes_interrupts_and_helps(terminal: pexpect.spawn, models: Models) -> None:
    models.deploy("m")
    terminal.sendline("%load_ext byzer_magic")
    terminal.expect("In .*2.*: ")
    terminal.send("%byzer deploy --infer_b\t")
    terminal.expect("ackend")
    terminal.sendcontrol("c")
    terminal.sendline("%chat m hello")
    terminal.expect("Echo: hello")
    terminal.sendline("%chat m tokens:2000@20")
    terminal.expect("t12 ")
    terminal.sendcontrol("c")
    terminal.expect("Interrupted")
    terminal.sendline("%byzer stta")
    terminal.expect("Did you mean stat")
    assert "Traceback" not in COLOURS.sub("", terminal.before)
    terminal.sendline("%byzer?")
    terminal.expect("Deploy a SaaS model or local weights")

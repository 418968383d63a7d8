"""Answers that outlive their kernel, and sessions that notebooks and shells share, on one real deployment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import KEY, Shell
from tests.kernel.conftest import Cell, Kernel
from tests.servers.process import Process, noted_after, received

pytestmark = [pytest.mark.kernel, pytest.mark.ray]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployed(kernel: Kernel, provider: Process) -> Kernel:
    kernel.run(f"KEY = {KEY!r}")
    cell = kernel.run(
        "%byzer deploy --pretrained_model_type saas/openai --cpus_per_worker 0.001 --worker_concurrency 4 "
        f"--infer_params saas.base_url={provider.url}/v1 saas.api_key=${{KEY}} saas.model=gpt-4o --model m"
    )
    assert cell.status == "ok", cell.everything
    return kernel


@pytest.fixture(scope="module")
def shell(kernel_env: dict[str, str], folder: Path) -> Shell:
    return Shell({**kernel_env, "PYTHONPATH": str(ROOT)}, folder)


def identity(cell: Cell) -> str:
    found = re.search(r"--attach (\w{8})", cell.text)
    assert found, cell.everything
    return found[1]


def answers(kernel: Kernel) -> str:
    return kernel.run("%byzer answers").shown[0]["text/plain"]


def asked(provider: Process, prompt: str, since: int) -> int:
    """Return how often the provider was asked this."""
    return sum(f'"{prompt}"' in str(entry).replace("'", '"') for entry in noted_after(provider, since))


def test_answer_goes_on_when_its_kernel_is_killed_and_another_kernel_gets_all_of_it(
    deployed: Kernel, provider: Process
) -> None:
    since = received(provider)
    cell = deployed.run("%%chat m --background --session t\ntokens:160@20")
    assert cell.status == "ok", cell.everything
    assert len(cell.shown) == 1, "one output, which goes on filling"
    assert "running" in answers(deployed), "it has returned at once"
    deployed.restart()
    assert deployed.run("%load_ext byzer_magic").status == "ok"
    assert re.search(rf"{identity(cell)} +m +(running|complete)", answers(deployed)), "by now, on a busy machine"
    attached = deployed.run("%chat --attach --out found")
    assert attached.status == "ok", attached.everything
    assert "TTFT" in attached.markdown
    text = "print(found.text.split() == [f't{n}' for n in range(160)], found.finish, _chat is found)"
    assert deployed.run(text).text == "True stop True\n"
    assert asked(provider, "tokens:160@20", since) == 1
    times = "print(found.timings.total > 5, 2 * found.timings.first_token < found.timings.total)"
    assert deployed.run(times).text == "True True\n", "those of the answer"
    listed = str(deployed.run("%byzer sessions").shown[0]["text/plain"])
    assert re.search(r"t +1 +m +t0 t1 ", listed), "the turn is in its session"


def test_output_fills_after_its_cell_has_ended(deployed: Kernel) -> None:
    deployed.run("_chat = None")
    assert deployed.run("%%chat m --background --out later\ntokens:10@20").status == "ok"
    wait = "import time\nwhile _chat is None: time.sleep(0.05)\nprint(later.text)"
    filled = deployed.run(wait)
    assert filled.text.split() == [f"t{n}" for n in range(10)]


def test_failure_is_shown_in_the_output(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m --background\nfault:quota")
    assert cell.status == "ok", cell.everything
    found = deployed.run(f"%chat --attach {identity(cell)}")
    assert found.status == "error"
    assert "quota" in found.error
    assert re.search(rf"{identity(cell)} +m +failed", answers(deployed))


def test_interrupt_leaves_the_answer_going_and_cancel_ends_it(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m --background\ntokens:2000@20")
    name = identity(cell)
    cut = deployed.run(f"%chat --attach {name}", on_text=deployed.interrupt)
    assert cut.status == "error"
    assert "The answer goes on in m" in cut.text
    assert re.search(rf"{name} +m +running", answers(deployed))
    ended = deployed.run(f"%chat --attach {name} --cancel")
    assert "was cancelled" in ended.text, ended.everything
    assert re.search(rf"{name} +m +cancelled", answers(deployed))
    assert name in deployed.complete("%chat --attach ")


def test_shell_and_notebook_share_a_session(deployed: Kernel, shell: Shell) -> None:
    assert deployed.run("%%chat m --session both\nsay:one").status == "ok"
    done = shell("chat", "m", "--session", "both", "say:two", easy=True)
    assert done.stdout == "two\n", done.stderr
    listed = str(deployed.run("%byzer sessions").shown[0]["text/plain"])
    assert re.search(r"both +2 +m +two", listed), listed
    deployed.run("%%chat m --session both\nsay:three")
    assert "both" not in shell("sessions", "--reset", "both").stdout
    deployed.run("%%chat m --session both\nsay:four")
    assert re.search(r"both +1 +m +four", str(deployed.run("%byzer sessions").shown[0]["text/plain"]))


def test_shell_leaves_an_answer_and_gets_it_later(deployed: Kernel, shell: Shell) -> None:
    left = shell("chat", "m", "--background", "tokens:30@20", easy=True)
    name = left.stdout.strip()
    assert re.fullmatch(r"\w{8}", name), left.stderr
    assert shell("attach", name).stdout.split() == [f"t{n}" for n in range(30)]
    assert re.search(rf"{name} +m +complete", answers(deployed))

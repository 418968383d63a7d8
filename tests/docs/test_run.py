"""Every command of the pages, run in order: cells in a real kernel, shell commands in bash."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from tests.conftest import KEY
from tests.docs.exceptions import DRY_RUN, NOT_RUN
from tests.docs.pages import ENGLISH, Block, Page, shell_commands
from tests.docs.redirect import Redirect
from tests.kernel.conftest import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(300)]

ALIASES = {
    "gpt4o_chat": "gpt-4o",
    "deepseek_chat": "deepseek-chat",
    "qwen_chat": "qwen-max",
    "openai_tts": "tts-1",
    "openai_image_gen": "gpt-image-1.5",
    "voice2text": "whisper-1",
    "gpt_emb": "text-embedding-3-small",
    "reranker": "bge-reranker-v2-m3",
}
"""The deployments that a page may use without making them, and their models at the test provider."""
DEPLOY = re.compile(r"(?<!un)deploy\b(?:\\\n|[^\n]|\n(?=--)|(?<=\()\n)*")
"""A deploy with its continuation lines, or the call of `bz.deploy`."""
RUN = [page for page in map(Page, ENGLISH) if any(block.language in ("bash", "python") for block in page.blocks)]


class Session:
    """A reader who runs a page from top to bottom."""

    def __init__(self, kernel: Kernel, env: dict[str, str], folder: Path, redirect: Redirect) -> None:
        self._kernel = kernel
        self._env = env
        self._folder = folder
        self._redirect = redirect
        self._output = ""
        """What the last block showed."""

    def run(self, block: Block) -> None:
        """Run one block, or store it as the file that it is, or compare it with the output before it."""
        if block.language == "bash":
            self._output = self._shell(block)
        elif block.language == "python":
            self._output = self._cell(block)
        elif block.language == "yaml":
            self._store(block)
        elif block.language == "text" and self._output:
            assert matches(block.text, self._output), f"{block}\n\nis not what was shown:\n{self._output}"

    def _shell(self, block: Block) -> str:
        commands = [dry(text) for text in shell_commands(block) if not reason(text)]
        if not commands:
            return ""
        script = self._redirect("\n".join(commands))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=280, check=False,
            env=self._env, cwd=self._folder,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{script}\n{done.stdout}{done.stderr}"
        assert KEY not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def _cell(self, block: Block) -> str:
        if reason(block.text):
            return ""
        cell = self._kernel.run(self._redirect(dry(block.text)), timeout=280)
        assert cell.status == "ok", f"{block}\n{cell.everything}"
        assert KEY not in cell.everything
        return "\n".join([cell.text, cell.value, *(shown.get("text/plain", "") for shown in cell.shown)])

    def _store(self, block: Block) -> None:
        name = re.match(r"# (\S+\.ya?ml)\n", block.text)
        assert name, f"a file begins with its name as a comment: {block}"
        (self._folder / name[1]).write_text(self._redirect.yaml(block.text + "\n"))


def reason(command: str) -> str:
    """Return why a command is not run here; empty: it is."""
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), "")


def dry(text: str) -> str:
    """Return a command that needs what no test machine has as a check of itself."""
    return text + " --dry_run" if any(part in text for part in DRY_RUN) and "deploy" in text else text


def matches(expected: str, output: str) -> bool:
    """Return whether the output has these lines in a row; `...` matches anything."""
    pattern = r"[\s\S]*?".join(re.escape(part) for part in expected.strip().split("..."))
    return re.search(pattern, re.sub(r"[ \t]+\n", "\n", output)) is not None


def prepare(page: Page, manager: Manager, redirect: Redirect) -> None:
    """Leave exactly the deployments that the page uses and does not make."""
    commands = (command for block in page.blocks for command in DEPLOY.findall(block.text))
    made = {alias for command in commands for alias in re.findall(r"--(?:model|alias) ([\w.]+)", command)}
    used = {alias for alias in ALIASES if any(re.search(rf"\b{alias}\b", block.text) for block in page.blocks)}
    running = set(manager.run(manager.aliases()))
    for alias in running - (used - made):
        manager.run(manager.undeploy(UndeploySpec(model=alias, force=True)))
    for alias in sorted((used - made) - running):
        params = {"saas.base_url": f"{redirect.openai_url}/v1", "saas.api_key": KEY, "saas.model": ALIASES[alias]}
        spec = DeploySpec(
            model=alias, pretrained_model_type="saas/openai", infer_params=params, cpus_per_worker=0.001,
            worker_concurrency=4,
        )  # fmt: skip
        for _ in manager.iterate(manager.deploy(manager.plan(spec))):
            pass


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_page_runs_from_top_to_bottom(
    page: Page, kernel: Kernel, page_env: dict[str, str], folder: Path, redirect: Redirect, cluster: Manager
) -> None:
    prepare(page, cluster, redirect)
    (folder / "own" / "keys.json").unlink(missing_ok=True)  # that of another page would close the endpoint of this one
    session = Session(kernel, page_env, folder, redirect)
    for block in page.blocks:
        session.run(block)

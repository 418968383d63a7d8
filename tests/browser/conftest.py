"""One JupyterLab and one Chromium page for all browser tests; a new notebook for each test.

Playwright's sync API keeps an event loop running in this thread while it is open. Its fixtures therefore end with this
folder's tests (scope "package"), before the asyncio tests of other folders begin.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from byzer_magic.plan import Plan
from tests.browser.driver import (
    CHROMIUM_FLAGS,
    CLOSE,
    POLL_MS,
    TOKEN,
    Notebook,
    Server,
    Watch,
    chromium,
    write_notebook,
)
from tests.conftest import KEY, short_folder
from tests.servers.process import Process
from tests.waiting import PATIENCE

SIZE = {"width": 1280, "height": 900}
START_SECONDS = 90
NUMBERS = itertools.count(1)
WRONG_KEY = "sk-wrong-0123456789abcdef"


@dataclass
class Lab:
    """JupyterLab in a browser."""

    server: Server
    page: Page
    watch: Watch

    @property
    def env(self) -> dict[str, str]:
        """The environment of the server and of its kernels."""
        return self.server.env

    @property
    def folder(self) -> Path:
        """The folder of the notebooks; kernels start in it."""
        return self.server.folder

    def url(self, path: str) -> str:
        """Return a URL on the server, with its token."""
        return f"{self.server.url}/{path}{'&' if '?' in path else '?'}token={TOKEN}"


@pytest.fixture(scope="module")
def kept(cluster: Manager) -> Iterator[set[str]]:
    """The deployments that stay for all tests of a file: a deploy takes longer than most tests."""
    aliases: set[str] = set()
    yield aliases
    undeploy(cluster, aliases)


@pytest.fixture
def manager(cluster: Manager, kept: set[str]) -> Iterator[Manager]:
    """The manager; whatever a test deployed and did not keep is removed after it."""
    yield cluster
    undeploy(cluster, set(cluster.run(cluster.aliases())) - kept)


def undeploy(manager: Manager, aliases: Iterable[str]) -> None:
    """Remove deployments, all at once."""

    async def remove() -> None:
        await asyncio.gather(*(manager.undeploy(UndeploySpec(model=alias, force=True)) for alias in aliases))

    manager.run(remove())


@pytest.fixture(scope="package")
def server(cluster: Manager, ray_env: dict[str, str]) -> Iterator[Server]:
    """JupyterLab (and Notebook 7), whose kernels find the private Ray of the tests."""
    assert cluster.connected
    with short_folder() as folder, Server(Path(folder), ray_env) as running:
        yield running


@pytest.fixture(scope="package")
def lab(server: Server) -> Iterator[Lab]:
    """One page with JupyterLab in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        rights = ["clipboard-read", "clipboard-write", "microphone"]
        context = browser.new_context(viewport=SIZE, locale="en-US", permissions=rights)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)  # by default 5 s, which busy cores may need for a page
        found = Lab(server, page, Watch(page))
        page.goto(found.url(f"lab/workspaces/tests-{os.getpid()}?reset"), timeout=START_SECONDS * 1000)
        page.wait_for_function("window.jupyterapp !== undefined", timeout=START_SECONDS * 1000, polling=POLL_MS)
        page.evaluate("window.jupyterapp.restored")
        page.evaluate("window.jupyterapp.shell.collapseLeft()")
        yield found
        browser.close()


@pytest.fixture
def notebook(lab: Lab, manager: Manager) -> Iterator[Callable[..., Notebook]]:
    """Open a new notebook with these cells, its kernel ready.

    After the test the theme is light, all kernels have ended, and what it deployed is gone; errors in the console
    and requests that left the machine fail it.
    """
    assert manager.connected

    def make(cells: Sequence[str], name: str = "") -> Notebook:
        path = lab.folder / f"{name or 'test'}{next(NUMBERS)}.ipynb"
        write_notebook(path, cells)
        lab.server.use_spare(path.name)
        opened = Notebook(lab.page, path)
        opened.open()
        return opened

    lab.watch.forget()
    yield make
    lab.page.keyboard.press("Escape")
    lab.server.start_spare()
    lab.page.evaluate(CLOSE)
    lab.page.set_viewport_size(SIZE)  # type: ignore[arg-type]  # a TypedDict with the same fields
    if lab.page.evaluate("document.body.dataset.jpThemeLight") == "false":
        Notebook(lab.page, lab.folder).dark(on=False)
    lab.watch.check()


class Models:
    """Deploys fake SaaS models for a test, or for all tests of a file."""

    def __init__(self, manager: Manager, provider: Process, kept: set[str]) -> None:
        self.manager = manager
        self.provider = provider
        self._kept = kept

    def deploy(self, alias: str, model: str = "gpt-4o", *, key: str = KEY, **more: object) -> str:
        """Deploy a model of the provider and return its alias; `more` are fields of DeploySpec."""
        self._deploy(self._spec(alias, model, key, **more))
        return alias

    def keep(self, wrong_key: str = "", **models: str) -> None:
        """Deploy models (alias=model) at once, for all tests of this file, unless an earlier test has.

        Args:
            wrong_key: an alias that is deployed beside them, with a key that the provider refuses.
        """
        specs = [self._spec(alias, model, KEY) for alias, model in models.items()]
        specs += [self._spec(wrong_key, "gpt-4o", WRONG_KEY)] if wrong_key else []
        missing = [spec for spec in specs if spec.model not in self._kept]
        self._deploy(*missing)
        self._kept |= {spec.model for spec in missing}

    def _spec(self, alias: str, model: str, key: str, **more: object) -> DeploySpec:
        params = {"saas.base_url": f"{self.provider.url}/v1", "saas.api_key": key, "saas.model": model}
        fields = {"cpus_per_worker": 0.001, "worker_concurrency": 4, "replace": True} | more
        return DeploySpec(model=alias, pretrained_model_type="saas/openai", infer_params=params, **fields)  # type: ignore[arg-type]

    def _deploy(self, *specs: DeploySpec) -> None:
        plans = [self.manager.plan(spec) for spec in specs]

        async def one(plan: Plan) -> None:
            async for _ in self.manager.deploy(plan):
                pass

        async def together() -> None:
            await asyncio.gather(*map(one, plans))

        self.manager.run(together())

    def line(self, alias: str, model: str = "gpt-4o", more: str = "") -> str:
        """Return the same as a cell; it needs `KEY = ...` in a cell before."""
        return (
            f"%byzer deploy --pretrained_model_type saas/openai --cpus_per_worker 0.001 --worker_concurrency 4 {more} "
            f"--infer_params saas.base_url={self.provider.url}/v1 saas.api_key=${{KEY}} saas.model={model} "
            f"--model {alias}"
        )


@pytest.fixture
def models(manager: Manager, provider: Process, kept: set[str]) -> Models:
    """Deploys fake models: `models.deploy("voice", "tts-1")` for a test, `models.keep(voice="tts-1")` for a file."""
    return Models(manager, provider, kept)


@pytest.fixture
def ipython(server: Server) -> Callable[..., str]:
    """Run cells in IPython in a separate process and return its terminal's output."""

    def run(cells: Sequence[str], seconds: float = 120) -> str:
        code = f"for cell in {list(cells)!r}: get_ipython().run_cell(cell)"
        command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=server.env, cwd=server.folder, check=False
        )
        return done.stdout + done.stderr

    return run

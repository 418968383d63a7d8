"""A JupyterLab server, a Chromium page in it, and notebooks: what tests use in place of selectors and waits."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, TimeoutError  # noqa: A004 - playwright's

from byzer_magic.runtime.cluster.ray_import import child_environment
from tests.servers.process import Process
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent.parent
ARTEFACTS = ROOT / "test-artefacts"
TOKEN = "tok"
POLL_MS = 50
"""Interval at which a page is asked whether something has happened; by default Chromium draws a frame each time."""
CELL_SECONDS = 90.0
"""A cell, or the start of a kernel, takes longer than this only when something is wrong."""
LOCAL = ("127.0.0.1", "localhost", "")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
INSTALL = "apt-get install -y chromium fonts-noto-cjk fonts-noto-color-emoji"
ALLOWED_ERRORS = (
    # JupyterLab's own, on each open: the font list of its theme, and a session that another tab has just ended.
    r"Failed to load resource.*404.*/api/(sessions|kernels)/",
    r"Kernel not shut down",
    # JupyterLab asks for a thread for widgets' messages, and its kernel is restarted meanwhile.
    r"Canceled future for (create|delete)_subshell_request",
    r"Could not restore the debugger state: Canceled future",
    # Notebook 7's own, as it starts: settings of a plugin that only JupyterLab has.
    r"reading 'schema'[\s\S]*notebook_core",
    # A connection that ends with its kernel (restart, shutdown) is written by the browser as an error.
    r"WebSocket connection to .* failed",
)
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/completer-extension/manager": {"autoCompletion": False, "providerTimeout": 15000},
}

OPEN = """async ([path, preference]) => {
    const app = window.jupyterapp;
    await app.restored;
    const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
    await panel.context.ready;
    if (preference === 'none') { panel.sessionContext.kernelPreference = {shouldStart: false, canStart: false}; }
    else {
        await panel.sessionContext.ready;
        await panel.sessionContext.session.kernel.info;
    }
    panel.content.activate();
    return panel.id;
}"""
RUN = """(index) => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cell = panel.content.widgets[index];
    panel.content.activeCellIndex = index;
    panel.content.deselectAll();
    cell.bzRunning = true;
    window.jupyterapp.commands.execute('notebook:run-cell').then(
        (fine) => fine, () => false).then((fine) => { cell.bzFine = fine; cell.bzRunning = false; });
}"""
ENDED = """(index) => {
    const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
    return !cell.bzRunning && cell.model.executionState === 'idle' && cell.model.executionCount !== null;
}"""
CLOSE = """async () => {
    for (const panel of [...window.jupyterapp.shell.widgets('main')]) {
        if (!panel.sessionContext) continue;
        try { await panel.sessionContext.shutdown(); } catch (err) {}
        panel.dispose();
    }
}"""


def chromium() -> str:
    """Return the browser's program.

    Raises:
        RuntimeError: there is none.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("BYZER_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        raise RuntimeError(f"The browser tests need Chromium. Run: {INSTALL}  (or set BYZER_CHROMIUM=/path/to/chrome)")
    return found


class Server(Process):
    """JupyterLab, and Notebook 7 beside it, with its own folders."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder / "notebooks"
        self.folder.mkdir()
        for name, values in SETTINGS.items():
            file = folder / f"config/lab/user-settings/{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        self.env = env | {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "run"),
            "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
        }
        command = [
            sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--ip=127.0.0.1", "--port={port}",
            "--port-retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.folder}",
            "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
            "--log-level=WARN",
        ]  # fmt: skip
        super().__init__(command, ready=f"/api/status?token={TOKEN}", env=child_environment(self.env))
        self._spare = ""
        """The id of a kernel that no notebook has."""

    def start_spare(self) -> None:
        """Start the kernel of the next notebook, in the folder of notebooks, while a test is being tidied up."""
        if not self._spare:
            self._spare = self._post("kernels", {"name": "python3", "path": ""})["id"]

    def use_spare(self, notebook: str) -> None:
        """Give a new notebook the kernel that was started ahead, if there is one."""
        if self._spare:
            about = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"id": self._spare}}
            self._post("sessions", about)
        self._spare = ""

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/api/{what}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=PATIENCE) as response:
            return json.load(response)


class Watch:
    """What a page wrote to its console, and whom it called."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda err: self._note(f"uncaught: {err} {err.stack}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error":
            self._note(text)

    def _note(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in ALLOWED_ERRORS):
            self.errors.append(text)

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and (parts.hostname or "") not in LOCAL:
            self.strangers.append(request.url)

    def forget(self) -> None:
        """Clear what was recorded."""
        self.errors.clear()
        self.strangers.clear()

    def check(self) -> None:
        """Fail when there was an error, or a request that left the machine; then clear them."""
        errors, strangers = self.errors[:], self.strangers[:]
        self.forget()
        assert not errors, f"errors in the browser's console: {errors}"
        assert not strangers, f"requests to other hosts: {strangers}"


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """Write a notebook of code cells; one that begins with ``# `` and a capital is not special."""
    body = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
        for n, text in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(json.dumps({"cells": body, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}))


def until_there(path: Path) -> str:
    """Return a cell that runs until there is such a file."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(path)!r}).exists(): time.sleep(0.1)"


class Notebook:
    """An open notebook in JupyterLab."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.path = path

    def run(self, index: int, *, wait: bool = True, seconds: float = CELL_SECONDS) -> Locator:
        """Run a cell and return it; it may fail. `wait=False` returns while it runs."""
        self.page.evaluate(RUN, index)
        if wait:
            self.wait(index, seconds)
        return self.cell(index)

    def run_all(self, *, seconds: float = CELL_SECONDS) -> None:
        """Run all cells one by one, those behind a failed one too."""
        for index in range(self.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length")):
            self.run(index, seconds=seconds)

    def wait(self, index: int, seconds: float = CELL_SECONDS) -> None:
        """Wait until a cell has ended."""
        try:
            self.page.wait_for_function(ENDED, arg=index, timeout=seconds * 1000, polling=POLL_MS)
        except TimeoutError as err:
            self.screenshot("stuck")
            shown = self.cell(index).inner_text()[-2000:]
            raise AssertionError(f"cell {index} has not ended after {seconds:.0f} s; it shows:\n{shown}") from err

    def cell(self, index: int) -> Locator:
        """Return the cell."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        """Return the cell's output area."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def failed(self, index: int) -> bool:
        """Return whether the kernel reported the cell as failed: what stops Run All, nbclient and papermill."""
        code = "(index) => window.jupyterapp.shell.currentWidget.content.widgets[index].bzFine"
        return self.page.evaluate(code, index) is False

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return the outputs of a cell as they would be saved."""
        found: list[dict[str, Any]] = self.page.evaluate(
            "(index) => window.jupyterapp.shell.currentWidget.content.widgets[index].model.outputs.toJSON()", index
        )
        return found

    def type(self, index: int, text: str) -> None:
        """Type into a cell's editor, at its end: the last character as a key, the others at once, as pasted."""
        editor = self.cell(index).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.insert_text(text[:-1])
        self.page.keyboard.type(text[-1:])

    def clear(self, index: int) -> None:
        """Empty a cell, as by hand."""
        self.page.keyboard.press("Escape")
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")

    def source(self, index: int) -> str:
        """Return the text of a cell."""
        return str(
            self.page.evaluate(
                "(index) => window.jupyterapp.shell.currentWidget.content.widgets[index].model.sharedModel.source",
                index,
            )
        )

    def command(self, name: str, **args: Any) -> Any:
        """Execute one of JupyterLab's commands."""
        return self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, args])

    def settle(self) -> None:
        """Wait until the kernel has replied to all that the page has requested so far."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestKernelInfo()"
        )

    def interrupt(self) -> None:
        """Interrupt the kernel."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")

    def restart(self) -> None:
        """Restart the kernel, as a user who has confirmed it."""
        self.page.evaluate(
            """async () => {
                const session = window.jupyterapp.shell.currentWidget.sessionContext;
                await session.session.kernel.restart();
                await session.session.kernel.info;
            }"""
        )

    def dark(self, *, on: bool = True) -> None:
        """Change the theme."""
        self.command("apputils:change-theme", theme="JupyterLab Dark" if on else "JupyterLab Light")
        self.page.wait_for_function(
            f"document.body.dataset.jpThemeLight === '{'false' if on else 'true'}'", polling=POLL_MS
        )
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def save(self) -> Path:
        """Save the notebook and return its file."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
        return self.path

    def saved(self) -> dict[str, Any]:
        """Return the file as it was saved last."""
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def reopen(self, *, kernel: bool = False) -> None:
        """Save, end the kernel, close, and open the file again as on the next day."""
        self.save()
        self.page.evaluate(CLOSE)
        self.open(kernel=kernel)

    def open(self, *, kernel: bool = True) -> None:
        """Open the file; without a kernel, one that JupyterLab starts on its own is ended at once."""
        self.page.evaluate(OPEN, [self.path.name, "start"])
        if not kernel:
            self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.content.widgets.every((cell) => cell.isAttached)",
            polling=POLL_MS,
        )

    def started(self, seconds: float = CELL_SECONDS) -> None:
        """Wait until a notebook that came with its page (Notebook 7) has its kernel."""
        self.page.wait_for_function(
            "window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady", timeout=seconds * 1000, polling=POLL_MS
        )
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.info")

    def enlarge(self, height: int = 6000) -> None:
        """Make the page so high that all cells are visible, and wait until scripts have rendered."""
        self.page.set_viewport_size({"width": 1280, "height": height})
        self.cell(0).scroll_into_view_if_needed()
        self.page.wait_for_timeout(1500)

    def screenshot(self, name: str, target: Locator | None = None) -> Path:
        """Store a screenshot of the notebook, or of one element, in test-artefacts/."""
        ARTEFACTS.mkdir(exist_ok=True)
        file = ARTEFACTS / f"{name}.png"
        (target or self.page).screenshot(path=file)
        return file


def to_html(notebook: Path) -> Path:
    """Convert a notebook as `jupyter nbconvert --to html` does, and return the page.

    In this process: the command takes seconds to start, each time; `test_saved.py` has it once.
    """
    page = notebook.with_suffix(".html")
    page.write_text(_exporter().from_filename(str(notebook))[0])
    return page


def to_html_by_command(notebook: Path) -> Path:
    """Convert a notebook with `jupyter nbconvert --to html`, and return the page."""
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "--log-level", "ERROR", str(notebook)]
    env = child_environment(os.environ)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return notebook.with_suffix(".html")


@functools.cache
def _exporter() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbconvert's own imports
        from nbconvert.exporters import HTMLExporter
    return HTMLExporter()

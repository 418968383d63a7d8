"""Makes the screenshots of README and docs (`make screenshots`): real deployments in a real JupyterLab, light theme.

pytest does not collect this file. The provider is tests/servers/canned.py, so nothing leaves the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from tests.browser.driver import ROOT, Notebook
from tests.servers.process import Process

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
FOLDER = ROOT / "docs/images"
SIZE = {"width": 1160, "height": 1400}
MOST_BYTES = 150_000
MODELS = {
    "gpt4o_chat": ("openai", "gpt-4o"),
    "deepseek_chat": ("deepseek", "deepseek-chat"),
    "qwen_chat": ("qwen_compat", "qwen-max"),
}
TEXTS = {
    "en": ("", "Why is the sky blue? Two sentences."),
    "zh": (".zh", "天空为什么是蓝色的？用两句话回答。"),
}
TRAFFIC = """
import threading, time
import byzer_magic as bz

def ask(alias, pause):
    while not enough.wait(pause):
        for _ in bz.model(alias).stream({question!r}):
            pass

enough = threading.Event()
pauses = {{"gpt4o_chat": (0.2, 0.6, 0.9), "deepseek_chat": (0.5,), "qwen_chat": (1.5,)}}
for alias, pause in ((alias, pause) for alias, each in pauses.items() for pause in each):
    threading.Thread(target=ask, args=(alias, pause), daemon=True).start()
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Process]:
    command = [sys.executable, str(ROOT / "tests/servers/canned.py"), "--port", "{port}"]
    with Process(command) as server:
        yield server


@pytest.fixture(params=TEXTS)
def lang(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(
    notebook: Callable[..., Notebook], manager: Manager, provider: Process, lang: str
) -> Callable[..., Notebook]:
    """Open a notebook in a language, its deployments made and its first cell run."""
    for alias, (kind, name) in MODELS.items():
        params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": "none", "saas.model": name}
        spec = DeploySpec(
            model=alias, pretrained_model_type=f"saas/{kind}", infer_params=params, cpus_per_worker=0.001,
            num_workers=2, worker_concurrency=4, replace=True,
        )  # fmt: skip
        for _ in manager.iterate(manager.deploy(manager.plan(spec))):
            pass

    def make(*cells: str) -> Notebook:
        book = notebook([f"%load_ext byzer_magic\n%config ByzerMagics.lang = {lang!r}", *cells])
        book.page.set_viewport_size(SIZE)  # type: ignore[arg-type]  # a TypedDict with the same fields
        book.run(0)
        return book

    return make


def keep(target: Locator, name: str, lang: str, height: int | None = None) -> None:
    """Store a screenshot of an element, or of its upper part when it is higher than `height` pixels."""
    file = FOLDER / f"{name}{TEXTS[lang][0]}.png"
    file.parent.mkdir(exist_ok=True)
    target.screenshot(path=file, animations="disabled")
    shrink(file, height)
    assert file.stat().st_size < MOST_BYTES, f"{file.name} has {file.stat().st_size} bytes"


def shrink(file: Path, height: int | None) -> None:
    """Write the screenshot with a palette, whose loss is hardly visible."""
    with Image.open(file) as image:
        part = image.convert("RGB").crop((0, 0, image.width, min(image.height, height or image.height)))
        part.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)


def test_panel(opened: Callable[..., Notebook], lang: str) -> None:
    book = opened(TRAFFIC.format(question=TEXTS[lang][1]), "%byzer panel", "enough.set()")
    book.run(1)
    book.run(2)
    panel = book.output(2).locator("[data-bz-mount] .bz-panel")
    expect(panel.locator("tr.bz-model")).to_have_count(len(MODELS))
    book.page.wait_for_timeout(25_000)  # so that the plots of the last minute have data
    panel.locator('tr.bz-model[data-group="gpt4o_chat"] .bz-twist').click()
    book.page.wait_for_timeout(1500)
    book.page.mouse.move(5, 5)
    keep(book.cell(2), "panel", lang)
    book.run(3)


def test_side_by_side(opened: Callable[..., Notebook], lang: str) -> None:
    question = TEXTS[lang][1]
    book = opened(f"%%chat gpt4o_chat,deepseek_chat,qwen_chat --judge gpt4o_chat --out answers\n{question}")
    cell = book.run(1)
    expect(cell.locator(".bz-column")).to_have_count(3)
    book.page.mouse.move(5, 5)
    keep(cell, "side-by-side", lang)


def test_form(opened: Callable[..., Notebook], lang: str) -> None:
    book = opened("%byzer form deepseek-chat")
    book.run(1)
    form = book.cell(1).locator(".bz-form")
    expect(form.locator(".bz-command code")).to_contain_text("%byzer deploy", timeout=30_000)
    field = form.locator('[data-key="model"] input')
    field.fill("deepseek_fast")
    expect(form.locator(".bz-command code")).to_contain_text("deepseek_fast")
    field.blur()
    book.page.mouse.move(5, 5)
    book.page.wait_for_timeout(800)
    keep(book.cell(1), "form", lang, height=900)

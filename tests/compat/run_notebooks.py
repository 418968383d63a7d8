"""Run byzer-llm's own notebooks on byzer-magic, as they are but for one line at the top, and print a table.

    python tests/compat/run_notebooks.py FOLDER [NAME ...]

FOLDER is a copy of https://github.com/allwefantasy/byzer-llm (the table in docs/byzer-llm.md is of commit 8d28eee);
nothing of it is in this repository. A real kernel on a private Ray runs every cell. What is of the author's machine is
another here: the paths of his files, the addresses of providers and of `byzerllm serve`, which lead to
tests/compat/model.py, and the shell's `pip`, `ray` and `ffmpeg`, which do nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import byzer_magic as bz  # noqa: E402 - the path comes first
from byzer_magic.commands.spec import DeploySpec, UndeploySpec  # noqa: E402
from tests.models import tiny_qwen2  # noqa: E402
from tests.models.tiny_lora import tiny_lora  # noqa: E402
from tests.servers.audio_files import mp3  # noqa: E402
from tests.servers.process import Process  # noqa: E402

FIRST_LINE = "%load_ext byzer_magic"
KEY = "sk-planted-notebooks"
GOAL = 18
"""Of 23; four need Byzer Storage, training, or an internal module, one an adapter outside the model's folder."""
MODELS = {
    "deepseek_chat": "gpt-4o",
    "deepseek_r1_chat": "deepseek-reasoner",
    "filelogger_chat": "gpt-4o",
    "gpt4o_mini_chat": "gpt-4o-mini",
    "qwen_vl": "gpt-4o",
    "openai_image_gen": "dall-e-3",
    "openai_speech_to_text": "whisper-1",
    "speech_to_text": "whisper-1",
    "emb": "text-embedding-3-small",
}
"""The aliases that notebooks take for deployed, and what they are here."""
DEPLOY_THEMSELVES = {"003": ("deepseek_chat",)}
"""Aliases that a notebook deploys itself, so that they must not be there before; by the beginning of its name."""
NAMES = "deepseek-chat,deepseek-reasoner,gpt-3.5-turbo,tts-1," + ",".join(MODELS)
PACKAGES = {"ffmpeg": "ffmpeg-python", "loguru": "loguru", "dateutil": "python-dateutil", "requests": "requests"}
"""What notebooks import besides; missing ones are installed into a folder of this run."""
CELL_SECONDS = 300


def main(folder: Path, chosen: list[str]) -> int:
    """Run the notebooks and print the table; return 0 where as many run as should."""
    rows = []
    with ExitStack() as stack:
        place = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bz", dir="/tmp", ignore_cleanup_errors=True))
        )
        server = stack.enter_context(
            Process([sys.executable, str(ROOT / "tests/compat/model.py"), "--port", "{port}", "--models", NAMES])
        )
        env = environment(place, server.url)
        os.environ.update(env)
        files = prepared(folder, place)
        manager = bz.default_manager()
        manager.ensure()
        stack.callback(manager.shutdown)
        for path in sorted(files.rglob("*.ipynb")):
            name = str(path.relative_to(files))
            if not chosen or any(part in name for part in chosen):
                deploy_all(server.url, next((v for k, v in DEPLOY_THEMSELVES.items() if name.startswith(k)), ()))
                rows.append((name, *run(path, place, server.url, env)))
                print(*rows[-1], sep=" | ", flush=True)
    ran = sum(not problem for _name, _cells, problem in rows)
    print(f"\n{ran} of {len(rows)} run")
    return 0 if chosen or ran >= GOAL else 1


def environment(place: Path, url: str) -> dict[str, str]:
    """Return the environment of the kernels: a private Ray, the author's variables, commands that do nothing."""
    commands = place / "commands"
    commands.mkdir()
    for name in ("pip", "ray", "ffmpeg"):
        (commands / name).write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        (commands / name).chmod(0o755)
    packages = place / "packages"
    missing = [wanted for module, wanted in PACKAGES.items() if not importable(module)]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", str(packages), *missing], check=True)
    for name in ("byzerllm", "easy-byzerllm"):
        entry = "main" if name == "byzerllm" else "easy_main"
        code = f"import sys; from byzer_magic.cli import {entry}; sys.exit({entry}())"
        (commands / name).write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n", encoding="utf-8")
        (commands / name).chmod(0o755)
    return {
        "RAY_TMPDIR": str(place),
        "BYZER_LOCAL_CPUS": "4",
        "BYZER_LOCAL_GPUS": "1",  # a number to Ray: engines use the CPU
        "BYZER_START_SECONDS": "240",
        "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)]),
        "MODEL_OPENAI_TOKEN": KEY,
        "MODEL_DEEPSEEK_TOKEN": KEY,
        "OPENAI_BASE_URL": f"{url}/v1",
        "MPLBACKEND": "Agg",
        "IPYTHONDIR": str(place / "ipython"),
    }


def importable(module: str) -> bool:
    """Return whether the kernels can import a module."""
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def prepared(folder: Path, place: Path) -> Path:
    """Copy the notebooks, and make the files of the author's machine."""
    home = place / "author"
    shutil.copytree(folder / "images", home / "images")
    notebooks = shutil.copytree(folder / "notebooks", home / "notebooks")
    (home / "videos").mkdir()
    (home / "videos" / "output_audio.mp3").write_bytes(mp3("hello"))
    (home / "videos" / "output.mp4").write_bytes(b"")
    (home / "qwen").mkdir()
    tiny_qwen2.changed(home / "qwen", max_position_embeddings=32_768)
    return Path(notebooks)


def changed(text: str, place: Path, url: str) -> str:
    """Return a cell with other paths and addresses in the place of the author's."""
    text = text.replace("/Users/allwefantasy/projects/byzer-llm", f"{place}/author")
    text = text.replace("/Users/allwefantasy/videos", f"{place}/author/videos")
    text = re.sub(r"/home/winubuntu/models/\w[\w-]*", f"{place}/author/qwen", text)
    text = re.sub(r"/home/winubuntu/[^\"\s]*lora", str(tiny_lora()), text)
    text = re.sub(
        r"https?://(localhost:8000|127\.0\.0\.1:8000|api\.deepseek\.com|your-custom-endpoint\.com)/v1",
        f"{url}/v1",
        text,
    )
    text = text.replace("https://example.com", f"{url}/health")
    return text.replace("easy-byzerllm deploy deepseek-chat", f"easy-byzerllm deploy deepseek-chat --base_url {url}/v1")


def deploy_all(url: str, but: tuple[str, ...]) -> None:
    """Make sure that the aliases are deployed as the notebooks expect them."""
    manager = bz.default_manager()
    running = set(manager.run(manager.aliases()))
    for alias in running - (set(MODELS) - set(but)):
        manager.run(manager.undeploy(UndeploySpec(model=alias, force=True)))
    for alias in set(MODELS) - set(but) - running:
        params = {"saas.base_url": f"{url}/v1", "saas.api_key": KEY, "saas.model": MODELS[alias]}
        spec = DeploySpec(
            model=alias, pretrained_model_type="saas/openai", infer_params=params, cpus_per_worker=0.001,
            worker_concurrency=64,
        )  # fmt: skip
        for _event in manager.iterate(manager.deploy(manager.plan(spec))):
            pass


def run(path: Path, place: Path, url: str, env: dict[str, str]) -> tuple[str, str]:
    """Run one notebook; return how many of its cells ran, and the first error."""
    notebook = nbformat.read(path, as_version=4)
    cells: list[Any] = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for cell in cells:
        cell.source = changed(cell.source, place, url)
    cells.insert(0, nbformat.v4.new_code_cell(FIRST_LINE))
    notebook.cells = cells
    folder = path.parent
    NotebookClient(
        notebook, timeout=CELL_SECONDS, allow_errors=True, kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute(env={**os.environ, **env})  # fmt: skip
    errors = [
        f"{output.ename}: {output.evalue}".split("\n")[0][:160]
        for cell in cells
        for output in cell.outputs
        if output.output_type == "error"
    ]
    if os.environ.get("KEEP"):  # to look at the outputs
        nbformat.write(notebook, Path(os.environ["KEEP"]) / path.name)
    return f"{len(cells) - len(errors)}/{len(cells)}", errors[0] if errors else ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))

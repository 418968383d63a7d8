"""A notebook with every kind of output that the package has, and what must be true of such a notebook's file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import KEY
from tests.models import speech

SHOWN = ("display_data", "execute_result")
WIDGETS = "application/vnd.jupyter.widget"
MODELS = {
    "m": "gpt-4o",
    "other": "gpt-4o-mini",
    "vectors": "text-embedding-3-small",
    "voice": "tts-1",
    "draw": "gpt-image-1.5",
    "listen": "whisper-1",
    "rank": "bge-reranker-v2-m3",
}
MARKDOWN = "say:# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n$x^2$\n\n```python\nprint(1)\n```\n"
WRONG = "sk-wrong-7d1f0a9b8c6e"
SECRETS = (KEY, WRONG)


def cells(url: str, folder: Path, deployed: Collection[str] = ()) -> list[str]:
    """Return the cells; the keys are read from files, so that no cell's text has them.

    Args:
        url: the provider's.
        folder: where the notebook is.
        deployed: those of `MODELS` that are deployed already; the second cell deploys the others.
    """
    (folder / "key.txt").write_text(KEY)
    (folder / "wrong.txt").write_text(WRONG)
    start = "%load_ext byzer_magic\nKEY, WRONG_KEY = open('key.txt').read(), open('wrong.txt').read()"
    deploy = (
        "deploy --pretrained_model_type saas/openai --cpus_per_worker 0.001 --infer_params saas.base_url={url}/v1"
        " saas.api_key=${{{key}}} saas.model={model} --model {alias}"
    )
    lines = [
        deploy.format(url=url, key="KEY", model=model, alias=alias)
        for alias, model in MODELS.items()
        if alias not in deployed
    ]
    lines.append(deploy.format(url=url, key="WRONG_KEY", model="gpt-4o", alias="locked"))
    return [
        start,
        "%%byzer\n" + "\n".join(lines),
        "%byzer " + deploy.format(url=url, key="KEY", model="gpt-4o", alias="one"),
        f"%%chat m\n{MARKDOWN}",
        "%%chat m\nthink:some thoughts",
        "%%chat m\ntool:get_weather",
        "%%chat vectors\nsome text",
        '%%chat rank\n{"query": "blue sky", "documents": ["no", "the blue sky"]}',
        "%%chat voice\nHello, this is a sentence.",
        "%%chat draw --params n=2\na cat on a mat",
        f"%chat listen --audio {speech.sentence(1)}",
        "%%chat m,other,locked\nhello",
        "%%chat locked\nhello",
        "%byzer deploy --model x --num_worker 2",
        "_chat",
        "%byzer list",
        "%byzer stat",
        "%byzer stat --model m",
        "%byzer doctor",
        "%byzer sessions",
        "%byzer plot --model m",
        "%byzer what_if --model m --num_workers 2",
        "%byzer panel",
        "%byzer form deepseek-chat",
        "%byzer chat m",
    ]


def outputs(notebook: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each output with the first line of its cell."""
    for cell in notebook["cells"]:
        for output in cell["outputs"]:
            yield "".join(cell["source"]).split("\n")[0], output


def text_of(data: Any) -> str:
    """Return a MIME value as text; files keep lines as lists."""
    return "".join(data) if isinstance(data, list) else data if isinstance(data, str) else json.dumps(data)


def faults(notebook: dict[str, Any]) -> list[str]:
    """Return what is wrong with the outputs of a saved notebook."""
    found = []
    for cell, output in outputs(notebook):
        if output["output_type"] not in SHOWN:
            continue
        data = output["data"]
        if set(data) == {"text/plain"} and not text_of(data["text/plain"]):
            continue  # a progress that has been emptied
        if not text_of(data.get("text/plain", "")).strip():
            found.append(f"{cell}: an output without text/plain: {sorted(data)}")
        if set(data) - {"text/plain"} and "text/html" not in data:
            found.append(f"{cell}: an output without text/html: {sorted(data)}")
        found += [f"{cell}: {kind}, which needs a kernel" for kind in data if kind.startswith(WIDGETS)]
        if "object at 0x" in text_of(data.get("text/plain", "")):
            found.append(f"{cell}: text/plain is a repr: {text_of(data['text/plain'])[:80]}")
    return found


def leaks(text: str, secrets: Sequence[str] = SECRETS) -> list[str]:
    """Return where a text has a secret, with its surroundings."""
    return [text[max(0, text.find(secret) - 80) : text.find(secret)] for secret in secrets if secret in text]


def sizes(notebook: dict[str, Any]) -> str:
    """Return a table: the bytes of each cell's outputs, largest first."""
    found: dict[str, int] = {}
    for cell, output in outputs(notebook):
        found[cell] = found.get(cell, 0) + len(json.dumps(output))
    rows = sorted(found.items(), key=lambda row: -row[1])
    return "\n".join([f"{size / 1024:9.1f} kB  {cell[:70]}" for cell, size in [*rows, ("all", sum(found.values()))]])

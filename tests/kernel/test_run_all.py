"""A notebook that is run again: for nothing with a journal, and without any model where its tape is replayed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import UndeploySpec
from tests.conftest import KEY
from tests.servers.process import openai_api, received

pytestmark = [pytest.mark.kernel, pytest.mark.ray]

DEPLOY = "%byzer deploy --pretrained_model_type saas/openai --replace"
PARAMS = "--infer_params saas.base_url=URL saas.api_key=${RUN_ALL_KEY} saas.model=gpt-4o"
BEGIN = [
    f"%load_ext byzer_magic\n%byzer journal on\n{DEPLOY} {PARAMS} --model one\n"
    f"{DEPLOY} {PARAMS}-mini --model two",  # of the same model, one may have the other's answer
    f"{DEPLOY} {PARAMS} saas.capabilities=speak,image,transcribe,embed,rerank --model media",
    """
import asyncio, io, wave, byzer_magic as bz
import byzerllm
from pydantic import BaseModel

class Answer(BaseModel):
    city: str

def weather(city: str) -> str:
    '''Return the weather of a city.'''
    return f"sunny in {city}"

buffer = io.BytesIO()
with wave.open(buffer, "wb") as file:
    file.setparams((1, 2, 8000, 0, "NONE", ""))
    file.writeframes(bytes(1600))
talk = buffer.getvalue()
png = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
                    "789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")

@bz.prompt("one")
def translate(text: str) -> str:
    '''Translate: {{ text }}'''
""",
]
CELLS = [
    "%%chat one\nWhy is the sky blue?",
    "%%chat one --no_stream --temperature 0\nWhy is the sea blue?",
    "%%chat one,two --judge two\nWhich is better?",
    "%%chat one --schema Answer\nWhich city is in France?",
    "%%chat one --tools weather\ntool:weather",
    "%%chat one --session talk --reset --system Brief.\nMy name is Ada.",
    "%%chat one --session talk\nWhat is my name?",
    "%%chat one --image png\nWhat is this?",
    "%%chat media\nGood morning.",
    "m = bz.model('one'); n = bz.model('media')\n[m.chat('a joke').text for _ in range(2)]",
    "''.join(chunk.text for chunk in m.stream('stream'))",
    "(await m.achat('later')).text",
    "[chunk.text async for chunk in m.astream('more')][:2]",
    "n.embed(['one', 'two']).tolist()",
    "n.rerank('sky', ['green grass', 'blue sky']).documents",
    "n.image('a cat')",
    "n.transcribe(talk)",
    "n.speak('hello')",
    "translate('good morning')",
    "byzerllm.ByzerLLM.from_default_model('one').chat_oai([{'role': 'user', 'content': 'compat'}])[0].output",
    "%byzer query --model one --query hello",
    "import pandas as pd\nm.map(pd.DataFrame({'text': ['a', 'b', 'a']}), prompt='Say {text}', out='said')",
]
COST = r"(?:&lt;|<)?\$[\d.]+"
VARIES = re.compile(
    r"(?<= rows)(?: · [^\n·<\\\"']+)+|"  # of a table: what came from where, and how fast
    rf"(?:\d+ )?from the journal(?:, saved {COST})?(?: · )?|replayed, recorded [\d-]+(?: · )?"
    rf"|\d+ replayed(?: · )?| · {COST}"
    r"|<style>.*?</style>|\b\d+(?:\.\d\d)? (?:s|min)\b|[\d.,]+ rows/s|\b[0-9a-f]{8}\b"
)
"""What may differ between the outputs of two runs: badges and costs, styles, times, and the keys of pieces of HTML."""


class Notebook:
    """A notebook in a kernel, whose cells are run again and again."""

    def __init__(self, cells: list[str], folder: Path) -> None:
        self.book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
        self.client = NotebookClient(self.book, timeout=120, resources={"metadata": {"path": str(folder)}})

    def run(self, begin: int = 0) -> list[str]:
        """Run the cells from `begin` on; return what those of `CELLS` have shown, without badges and times."""
        for number, cell in enumerate(self.book.cells[begin:], begin):
            self.client.execute_cell(cell, number)
        return [shown(cell) for cell in self.book.cells[-len(CELLS) :]]

    def do(self, line: str) -> str:
        """Run one more cell; return what it has shown."""
        self.book.cells.append(cell := nbformat.v4.new_code_cell(line))
        try:
            self.client.execute_cell(cell, len(self.book.cells) - 1)
        finally:
            self.book.cells.pop()
        return str(cell.outputs)


def shown(cell: Any) -> str:
    found = (str(output.get("data") or output.get("text", "").strip()) for output in cell.outputs)
    return "\n".join(
        text for text in (VARIES.sub("", each) for each in found) if text not in ("", "{'text/plain': ''}")
    )


def test_notebook_runs_again_for_nothing(cluster: Manager, kernel_env: dict[str, str], tmp_path: Path) -> None:
    env = {**kernel_env, "RUN_ALL_KEY": KEY}
    with openai_api(KEY) as provider:
        cells = [text.replace("URL", f"{provider.url}/v1") for text in [*BEGIN, *CELLS]]
        notebook = Notebook(cells, tmp_path)
        with notebook.client.setup_kernel(env=env):
            first = notebook.run()
        asked = received(provider)
        assert "from the journal" not in str(notebook.book.cells[3])
        again = Notebook(cells, tmp_path)
        with again.client.setup_kernel(env=env):
            assert again.run() == first
            assert received(provider) == asked
            badges = [number for number, cell in enumerate(again.book.cells[3:]) if "from the journal" in str(cell)]
            assert badges == [number for number, text in enumerate(CELLS) if has_footer(text)]
            again.book.cells[3]["source"] = "%%chat one\nWhy is the sky red?"
            changed = again.run(len(BEGIN))
            assert [one == two for one, two in zip(changed, first, strict=True)] == [False, *[True] * (len(CELLS) - 1)]
            assert received(provider) == asked + 1
            provider.__exit__()
            assert again.run(len(BEGIN)) == changed
            _check_replay(again, changed, cluster)


def has_footer(cell: str) -> bool:
    return cell.startswith(("%", "import pandas"))


def _check_replay(notebook: Notebook, shown_before: list[str], cluster: Manager) -> None:
    """The tape of all that answers the same cells without the deployments."""
    assert "entries written" in notebook.do("%byzer journal export tape.jsonl")
    for alias in cluster.run(cluster.aliases()):
        cluster.run(cluster.undeploy(UndeploySpec(model=alias, force=True)))
    assert "Replaying" in notebook.do("%byzer replay tape.jsonl --speed 0")
    assert notebook.run() == shown_before
    assert "one: not deployed; tape.jsonl is replayed" in str(notebook.book.cells[0].outputs)
    assert "replayed, recorded" in str(notebook.book.cells[3].outputs)
    with pytest.raises(CellExecutionError, match="no recording of this request to one"):
        notebook.do("%%chat one,two\nWhich is worse?")

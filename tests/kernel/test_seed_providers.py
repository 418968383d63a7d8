"""The guide's other providers: each command pasted, then used from a cell, from Python and from a shell."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import byzer_magic as bz
from byzer_magic.client.manager import Manager
from tests.conftest import KEY, Shell
from tests.kernel.conftest import Kernel
from tests.kernel.test_seed import SEED
from tests.servers.process import Process, openai_api, own

pytestmark = [pytest.mark.kernel, pytest.mark.ray]

MODELS = "text-embedding-3-small,whisper-1,tts-1,dall-e-3,yi-vision,gpt-4o"


@dataclass(frozen=True)
class Row:
    """A seed command, the server that plays its provider, and what is changed in it to reach that server."""

    server: str
    setting: str
    changes: tuple[tuple[str, str], ...] = ()
    key: str = KEY


ROWS = {
    "S06": Row(
        "openai_api", "", (("https:/xxx.openai.azure.com/", "{url}"), ('saas.api_key="xxx"', f"saas.api_key={KEY}"))
    ),
    "S07": Row("claude", "saas.base_url={url}"),
    "S08": Row(
        "bedrock",
        "saas.endpoint_url={url}",
        (
            ("region_name=xxxx", "region_name=us-east-1"),
            ("api_version=xxxx", "api_version=bedrock-2023-05-31"),
            ("saas.model=xxxxx", "saas.model=anthropic.claude-3-5-sonnet-20240620-v1:0"),
        ),
        "xxxx:xxxx",
    ),
    "S09": Row("bedrock", "saas.endpoint_url={url}", (), "xxx:xx"),
    "S12": Row("dashscope", "saas.base_url={url}/api/v1"),
    "S14": Row("dashscope", "saas.base_url={url}/api/v1"),
    "S15": Row("openai_api", "saas.base_url={url}/v1"),
    "S17": Row("openai_api", "saas.base_url={url}/v1"),
    "S20": Row("volcengine", "saas.base_url={url}"),
    "S21": Row("azure_speech", "saas.base_url={url}"),
    "S22": Row("openai_api", "saas.base_url={url}/v1"),
    "S23": Row("openai_api", "saas.base_url={url}/v1"),
    "S24": Row("dashscope", "saas.base_url={url}/api/v1"),
    "S25": Row("openai_api", "", (("https://api.lingyiwanwu.com/v1", "{url}/v1"),)),
}
KEYS = (
    "MODEL_CLAUDE_TOEKN", "MODEL_QIANWEN_TOKEN", "MODEL_2_QIANWEN_TOKEN", "MODEL_OPENAI_TOKEN",
    "MODEL_VOLCANO_TTS_TOKEN", "MODEL_AZURE_TTS_TOKEN", "MODEL_YI_TOKEN",
)  # fmt: skip


class Servers:
    """The providers that the rows name, each started when it is first wanted."""

    def __init__(self, running: ExitStack) -> None:
        self._running = running
        self._found: dict[tuple[str, str], Process] = {}

    def url(self, row: Row) -> str:
        if (row.server, row.key) not in self._found:
            server = openai_api(row.key, MODELS) if row.server == "openai_api" else own(row.server, row.key)
            self._found[row.server, row.key] = self._running.enter_context(server)
        return self._found[row.server, row.key].url

    def journal(self, row: Row) -> list[dict[str, Any]]:
        """Return what came in."""
        found: list[dict[str, Any]] = self._found[row.server, row.key].get("/journal")
        return found


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as running:
        yield Servers(running)


class Deployed:
    """One seed command, deployed from a cell."""

    def __init__(self, kernel: Kernel, servers: Servers, name: str) -> None:
        row = ROWS[name]
        url = servers.url(row)
        command = SEED[name]
        for old, new in row.changes:
            assert old in command
            command = command.replace(old, new.format(url=url))
        if row.setting:
            command = command.replace("--infer_params", f"--infer_params {row.setting.format(url=url)}")
        kernel.run("\n".join(f"{key} = {KEY!r}" for key in KEYS))
        self.alias = command.split("--model ")[1].split()[0]
        self.cell = kernel.run(f"%%byzer\n{command} --replace")
        assert self.cell.status == "ok", self.cell.everything
        self.run = kernel.run
        self.python = bz.model(self.alias)

    def ask(self, prompt: str, *flags: str) -> Any:
        cell = self.run(f"%%chat {self.alias} {' '.join(flags)} --out answer\n{prompt}")
        assert cell.status == "ok", cell.everything
        assert KEY not in cell.everything
        return cell


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 16000)
    return path


@pytest.fixture
def png(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "dot.png"
    Image.new("RGB", (4, 3), "red").save(path)
    return path


@pytest.mark.parametrize("name", ["S06", "S07", "S08", "S09", "S12"])
def test_chat(name: str, kernel: Kernel, cluster: Manager, servers: Servers, shell: Shell) -> None:
    model = Deployed(kernel, servers, name)
    assert "Echo: hello" in model.ask("hello").markdown
    assert model.python.chat("hello").text == "Echo: hello"
    assert "".join(chunk.text for chunk in model.python.stream("hello")) == "Echo: hello"
    done = shell("query", "--model", model.alias, "--query", "hello")
    assert (done.returncode, done.stdout) == (0, "Echo: hello\n"), done.stderr


def test_s06_unchanged_reports_its_typo(kernel: Kernel) -> None:
    cell = kernel.run(f"%%byzer\n{SEED['S06']}")
    assert "a slash is missing" in cell.everything
    assert "https://xxx.openai.azure.com/" in cell.everything


@pytest.mark.parametrize("name", ["S24", "S25"])
def test_vision(
    name: str,
    kernel: Kernel,
    cluster: Manager,
    servers: Servers,
    shell: Shell,
    png: Path,
) -> None:
    model = Deployed(kernel, servers, name)
    assert "png" in model.ask("what is this?", "--image", str(png)).markdown
    kernel.run(f"from PIL import Image\npicture = Image.open({str(png)!r})")
    assert "png" in model.ask("what is this?", "--image", "picture", "--image", str(png)).markdown
    assert "png" in model.python.chat("what is this?", image=png).text
    done = shell("query", "--model", model.alias, "--query", "what?", "--image", str(png))
    assert "png" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["S14", "S15"])
def test_embeddings(
    name: str,
    kernel: Kernel,
    cluster: Manager,
    servers: Servers,
    shell: Shell,
    tmp_path: Path,
) -> None:
    import numpy as np
    import pandas as pd

    model = Deployed(kernel, servers, name)
    assert "1 embedding, " in model.ask("some text").everything
    assert kernel.run("print(answer.vectors.shape[0], answer.vectors.dtype)").text == "1 float32\n"
    texts = [f"text {number}" for number in range(60)]
    embeddings = model.python.embed(pd.Series(texts, index=range(100, 160)))
    assert embeddings.shape[0] == 60
    assert np.array_equal(embeddings[7], model.python.embed("text 7")), "in order"
    target = tmp_path / "x.json"
    done = shell("query", "--model", model.alias, "--query", "text 7", "--output_file", str(target))
    assert done.returncode == 0, done.stderr
    assert np.allclose(np.array(__import__("json").loads(target.read_text()))[0], embeddings[7])


def test_s17_speech_to_text(kernel: Kernel, cluster: Manager, servers: Servers, shell: Shell, wav: Path) -> None:
    model = Deployed(kernel, servers, "S17")
    line = kernel.run(f"%chat {model.alias} --audio {wav} --params language=en --out answer")
    assert line.status == "ok", line.everything
    text = kernel.run("print(answer.text)").text.strip()
    assert text
    assert text in line.everything
    transcript = model.python.transcribe(wav, language="en", response_format="verbose_json")
    assert transcript.segments
    done = shell("query", "--model", model.alias, "--audio", str(wav), "--params", "language=en")
    assert done.stdout.strip() == text, done.stderr
    without = kernel.run(f"%%chat {model.alias}\nhello")
    assert "has no audio" in without.everything


@pytest.mark.parametrize("name", ["S20", "S21", "S22"])
def test_text_to_speech(
    name: str,
    kernel: Kernel,
    cluster: Manager,
    servers: Servers,
    shell: Shell,
    tmp_path: Path,
) -> None:
    model = Deployed(kernel, servers, name)
    cell = model.ask("Hello. 你好。", "--params", "response_format=wav")
    assert "<audio controls" in cell.everything
    assert kernel.run("print(answer.mime, len(answer.data) > 1000)").text == "audio/wav True\n"
    long = model.python.speak("A sentence of some length. " * 300, response_format="wav")
    short = model.python.speak("A sentence of some length.", response_format="wav")
    with wave.open(io.BytesIO(long.data)) as one, wave.open(io.BytesIO(short.data)) as other:
        assert one.getnframes() > 100 * other.getnframes()
    target = tmp_path / "x.mp3"
    done = shell("query", "--model", model.alias, "--query", "Hello.", "--output_file", str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_bytes()[:1] in (b"\xff", b"I")
    nowhere = shell("query", "--model", model.alias, "--query", "Hello.")
    assert (nowhere.returncode, "--output_file" in nowhere.stderr) == (2, True)


def test_s23_images(kernel: Kernel, cluster: Manager, servers: Servers, shell: Shell, tmp_path: Path) -> None:
    model = Deployed(kernel, servers, "S23")
    cell = model.ask("a cat", "--params", "size=1024x1024", "quality=hd")
    assert any("data:image/png" in shown.get("text/html", "") for shown in cell.shown)
    assert model.python.image("a cat").data.startswith(b"\x89PNG")
    target = tmp_path / "x.png"
    done = shell("query", "--model", model.alias, "--query", "a cat", "--output_file", str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_bytes().startswith(b"\x89PNG")


def test_chat_reads_the_json_of_byzer_llm(kernel: Kernel, cluster: Manager, servers: Servers, wav: Path) -> None:
    import base64
    import json

    tts = Deployed(kernel, servers, "S22").python
    speech = tts.chat(json.dumps({"input": "hello", "voice": "alloy", "response_format": "mp3"}))
    assert base64.b64decode(speech.output) == speech.data
    drawing = Deployed(kernel, servers, "S23").python.chat(
        json.dumps({"input": "a cat", "size": "1024x1024", "quality": "standard"})
    )
    assert base64.b64decode(drawing.output).startswith(b"\x89PNG")
    url = f"data:audio/wav;base64,{base64.b64encode(wav.read_bytes()).decode()}"
    transcript = Deployed(kernel, servers, "S17").python.chat(json.dumps({"audio": url}))
    assert json.loads(transcript.output)["text"] == transcript.text


def test_unsupported_capability_names_models_that_have_it(kernel: Kernel, cluster: Manager, servers: Servers) -> None:
    from byzer_magic.errors import Unsupported

    tts, chat = Deployed(kernel, servers, "S22"), Deployed(kernel, servers, "S07")
    with pytest.raises(Unsupported, match="does not support embed") as caught:
        tts.python.embed("hello")
    assert "the capability embed" in caught.value.hint
    with pytest.raises(Unsupported) as caught:
        chat.python.speak("hello")
    assert tts.alias in caught.value.hint
    rows = kernel.run("%byzer list").shown[0]["text/plain"]
    assert any(tts.alias in line and "speak" in line for line in rows.splitlines())


def test_missing_key_is_asked_for_and_not_shown(kernel: Kernel, cluster: Manager, servers: Servers) -> None:
    url = servers.url(ROWS["S07"])
    params = f"--infer_params saas.base_url={url} saas.model=claude-sonnet-5-5"
    line = f"%byzer deploy --pretrained_model_type saas/claude --model typed {params}"
    deployed = kernel.run(line, typed=KEY)
    assert deployed.status == "ok", deployed.everything
    assert kernel.asked["password"] is True
    assert KEY not in deployed.everything + str(kernel.asked)
    assert "Echo: hi" in kernel.run("%%chat typed\nhi").markdown
    refused = kernel.run(line.replace("typed", "typed2"))
    assert "saas/claude needs saas.api_key" in refused.everything, "where the user cannot be asked, it is an error"


def test_interrupt_ends_speech_and_reports_it(kernel: Kernel, cluster: Manager, servers: Servers) -> None:
    model = Deployed(kernel, servers, "S22")
    cell = kernel.run(f"%%chat {model.alias}\nfault:silence hello", on_text=kernel.interrupt, after=1)
    assert cell.status == "error"
    assert "Interrupted: the part that arrived is kept in _chat." in cell.everything
    assert kernel.run("print(_chat.interrupted, _chat.data)").text == "True b''\n"
    assert "generating audio" not in str(cell.shown), "the progress is gone"
    assert cell.updates >= 2
    entry = next(item for item in reversed(servers.journal(ROWS["S22"])) if item["path"].endswith("/audio/speech"))
    assert entry["gone"]


def test_missing_file_is_named(kernel: Kernel, cluster: Manager, servers: Servers, png: Path) -> None:
    model = Deployed(kernel, servers, "S24")
    cell = kernel.run(f"%%chat {model.alias} --image {png.parent}/dto.png\nwhat?")
    assert "Cannot read" in cell.everything
    assert "Did you mean" in cell.everything

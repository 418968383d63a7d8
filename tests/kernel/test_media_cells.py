"""Audio, images, transcripts and progress, as a real kernel sends them to its cells."""

from __future__ import annotations

import threading
import wave
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.kernel.conftest import Cell, Kernel
from tests.servers.process import Process

pytestmark = [pytest.mark.kernel, pytest.mark.ray]
MODELS = {"voice": "tts-1", "draw": "gpt-image-1.5", "listen": "whisper-1", "emb": "text-embedding-3-small"}


@pytest.fixture(scope="module")
def deployed(kernel: Kernel, provider: Process, folder: Path) -> Kernel:
    kernel.run(f"KEY = {KEY!r}\nimport byzer_magic as bz")
    params = f"saas.base_url={provider.url}/v1 saas.api_key=${{KEY}}"
    lines = [
        f"deploy --pretrained_model_type saas/openai --infer_params {params} saas.model={model} --model {alias}"
        for alias, model in MODELS.items()
    ]
    cell = kernel.run("%%byzer\n" + "\n".join(lines))
    assert cell.status == "ok", cell.everything
    with wave.open(str(folder / "talk.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\x20" * 16000)
    return kernel


def media_of(cell: Cell) -> dict[str, str]:
    """Return the output that has the media; there may be one before it, that of progress which is gone by then."""
    return next(output for output in cell.shown if "text/html" in output)


def test_speech_has_a_player_a_waveform_and_its_words(deployed: Kernel) -> None:
    cell = deployed.run("%%chat voice --params voice=nova response_format=wav\nHello <b>you</b>")
    assert cell.status == "ok", cell.everything
    shown = media_of(cell)
    for part in (
        "<audio",
        "<svg",
        "Hello &lt;b&gt;you&lt;/b&gt;",
        "voice=nova",
        'data-bz-name="voice-Hello-b-you-b.wav"',
    ):
        assert part in shown["text/html"]
    assert "audio/wav · 0:00" in shown["text/plain"]


def test_images_have_prompt_and_parameters(deployed: Kernel) -> None:
    shown = media_of(deployed.run("%%chat draw --params n=2 quality=high\na cat"))
    assert shown["text/html"].count('class="bz-enlarge"') == 2
    assert "1024 x 1024 · image/png" in shown["text/plain"]
    assert "a cat\ndraw · n=2 · quality=high" in shown["text/plain"]


def test_transcript_plays_its_audio(deployed: Kernel) -> None:
    cell = deployed.run("%chat listen --audio talk.wav --params response_format=verbose_json --out heard")
    shown = media_of(cell)["text/html"]
    for part in ("<audio", 'data-bz-seek="0.00"', 'data-bz-name="talk.wav"', "english", "0:02"):
        assert part in shown
    assert deployed.run("print(heard.audio, len(repr(heard)) < 2000)").text == "Media(audio/wav, 32044 bytes) True\n"


def test_recorder_opens_and_the_cell_returns(deployed: Kernel) -> None:
    cell = deployed.run("%chat listen --audio rec")
    assert cell.status == "ok", cell.everything
    assert cell.shown[0].keys() == {"text/html", "text/plain"}, "a widget that is shown is missed in a saved notebook"
    assert "data-bz-mount" in cell.shown[0]["text/html"]
    assert cell.shown[0]["text/plain"] == "A recorder for listen; run this cell to use it."


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%chat voice --audio rec", "does not accept audio"),
        ("%chat listen,voice --audio rec", "with one model"),
        ("%chat nobody --audio rec", "nobody"),
    ],
)
def test_recorder_refuses_models_that_accept_no_audio(deployed: Kernel, line: str, expected: str) -> None:
    cell = deployed.run(line)
    assert cell.status == "error"
    assert expected in cell.error
    assert "data-bz-mount" not in str(cell.shown)


def test_embed_shows_its_progress_and_can_be_interrupted(deployed: Kernel) -> None:
    threading.Timer(3.5, deployed.interrupt).start()
    cell = deployed.run("bz.model('emb').embed(['slow:20000ms x', 'y'])")
    assert cell.status == "error"
    assert "KeyboardInterrupt" in cell.error
    assert len(cell.shown) == 1
    assert cell.updates >= 2, "its clock ticks though nothing comes"
    assert cell.shown[0]["text/plain"] == ""


def test_deploy_shows_its_progress_and_leaves_one_line(deployed: Kernel, provider: Process) -> None:
    params = f"saas.base_url={provider.url}/v1 saas.api_key=${{KEY}} saas.model=gpt-4o"
    cell = deployed.run(f"%byzer deploy --pretrained_model_type saas/openai --infer_params {params} --model quiet")
    last = cell.shown[-1]
    assert last["text/plain"].startswith("quiet: ready in ")
    assert 'class="bz-ready" role="status"' in last["text/html"]
    assert "<progress" not in last["text/html"]

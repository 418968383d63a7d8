"""Audio, images, transcripts and the recorder in a real JupyterLab: played, seeked, enlarged, saved, sent."""

from __future__ import annotations

import json
import re
import wave
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.checks import accessible, english, walk
from tests.browser.conftest import Models
from tests.browser.driver import Notebook, to_html
from tests.models import speech

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
STORY_SECONDS = 50
RECORDING = re.compile(r"Recording 0:(0[1-9]|[1-5]\d)")
"""For a second at least."""
WATCH_MICROPHONE = """() => {
    const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
    window.bzTracks = [];
    devices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        window.bzTracks.push(...stream.getTracks());
        return stream;
    };
}"""
LISTENING = "window.bzTracks.some((track) => track.readyState === 'live')"


@pytest.fixture
def opened(notebook: Opener, models: Models) -> Callable[..., Notebook]:
    """Open a notebook beside models of the test provider (alias=model); its first cell loads the extension."""

    def open_one(*cells: str, **deployed: str) -> Notebook:
        models.keep(**deployed)
        book = notebook(["%load_ext byzer_magic", *cells])
        book.run(0)
        return book

    return open_one


def player(cell: Locator) -> dict[str, float]:
    """Return the state of the player."""
    found: dict[str, float] = cell.locator("audio").evaluate(
        "audio => ({at: audio.currentTime, long: audio.duration, paused: Number(audio.paused)})"
    )
    return found


def test_transcript_time_seeks_the_audio(opened: Callable[..., Notebook]) -> None:
    params = "--params response_format=verbose_json prompt=segments:12"
    book = opened(f"%chat far --audio {speech.story()} {params}", far="whisper-1")
    cell = book.run(1)
    lines = cell.locator("[data-bz-seek]")
    expect(lines.nth(5)).to_be_visible()
    wanted = float(str(lines.nth(5).get_attribute("data-bz-seek")))
    assert 15 < wanted < STORY_SECONDS
    lines.nth(5).click()
    expect(cell.locator("li[aria-current]")).to_contain_text(lines.nth(5).inner_text())
    assert wanted <= player(cell)["at"] < wanted + 5
    assert player(cell)["long"] == pytest.approx(STORY_SECONDS, abs=2)
    cell.locator(".bz-wave").click(position={"x": 6, "y": 10})
    book.page.wait_for_function("() => document.querySelector('audio').currentTime < 5")
    cell.locator("audio").evaluate("audio => audio.pause()")
    accessible(book.output(1))
    book.screenshot("transcript-light", cell)
    book.dark()
    accessible(book.output(1))
    book.screenshot("transcript-dark", cell)
    book.dark(on=False)


def test_speech_is_played_downloaded_and_saved(opened: Callable[..., Notebook]) -> None:
    text = "Hello. 你好。 <b>More</b> words."
    book = opened(f"%%chat voice --params voice=nova response_format=wav\n{text}", "_chat", voice="tts-1")
    cell = book.run(1)
    expect(cell.locator(".bz-caption")).to_have_text(text)
    expect(cell.locator("svg[role=img]")).to_have_count(1)
    book.page.wait_for_function("() => document.querySelector('.bz-audio audio').duration > 0.1")
    with book.page.expect_download() as waiting:
        cell.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename == "voice-Hello-你好-b-More-b-words.wav"
    with wave.open(str(waiting.value.path())) as file:
        assert file.getnframes() > 1000
    expect(book.run(2).locator("audio")).to_have_count(1)
    book.screenshot("speech-light", cell)
    book.save()
    page = to_html(book.path).read_text()
    assert page.count("<audio") == 2
    book.reopen()
    expect(book.cell(1).locator("audio")).to_have_count(1)


def test_image_is_enlarged_and_closed_with_the_keyboard(opened: Callable[..., Notebook]) -> None:
    book = opened("%%chat draw --params n=3\na cat on a mat", draw="gpt-image-1.5")
    cell = book.run(1)
    expect(cell.locator(".bz-enlarge")).to_have_count(3)
    accessible(book.output(1))
    assert "button Enlarge image 1 of 3: a cat on a mat" in walk(book.output(1))
    book.screenshot("images-light", cell)
    cell.get_by_role("button", name="Enlarge image 2 of 3: a cat on a mat").focus()
    book.page.keyboard.press("Enter")
    box = book.page.locator("dialog.bz-lightbox")
    expect(box).to_be_visible()
    expect(box.get_by_role("button", name="Close")).to_be_focused()
    book.page.keyboard.press("ArrowRight")
    book.screenshot("image-enlarged")
    book.page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(cell.locator(".bz-enlarge").nth(1)).to_be_focused()
    with book.page.expect_download() as waiting:
        cell.get_by_role("button", name="Download").first.click()
    assert waiting.value.suggested_filename == "draw-a-cat-on-a-mat-1.png"


def test_recorder_sends_a_recording_and_shows_its_transcript(opened: Callable[..., Notebook]) -> None:
    book = opened(
        "%chat far --audio rec --out result",
        "print(result.audio.mime, len(result.audio.data) > 1000, result.text)",
        far="whisper-1",
    )
    cell = book.run(1)
    cell.get_by_role("button", name="Record").click()
    expect(cell.get_by_role("status")).to_contain_text(RECORDING)
    book.screenshot("recorder-light", cell)
    cell.get_by_role("button", name="Stop").click()
    expect(cell.get_by_role("button", name="Send")).to_be_focused()
    cell.get_by_role("button", name="Send").click()
    expect(cell.locator(".bz-transcript")).to_contain_text("bytes of audio.webm")
    expect(cell.locator(".bz-recorder")).to_have_count(0)
    expect(book.run(2)).to_contain_text("audio/webm True")
    book.save()
    shown = json.dumps(book.saved()["cells"][1]["outputs"])
    assert "widget-view" not in shown
    assert "data:audio/webm" in shown


def test_recorder_discards_a_recording_and_takes_a_file(opened: Callable[..., Notebook]) -> None:
    book = opened("%chat far --audio rec", far="whisper-1")
    cell = book.run(1)
    cell.get_by_role("button", name="Record").click()
    expect(cell.get_by_role("status")).to_contain_text(RECORDING)
    cell.get_by_role("button", name="Stop").click()
    cell.get_by_role("button", name="Discard").click()
    expect(cell.get_by_role("button", name="Record")).to_be_focused()
    cell.locator("input[type=file]").set_input_files(str(speech.sentence(0)))
    book.dark()
    accessible(book.output(1))
    book.screenshot("recorder-dark", cell)
    book.dark(on=False)
    cell.get_by_role("button", name="Send").click()
    expect(cell.locator(".bz-transcript")).to_contain_text("bytes of")
    expect(cell.get_by_role("button", name="Download sentence-0.wav")).to_have_count(1)


def test_recorder_releases_the_microphone_when_the_notebook_closes(opened: Callable[..., Notebook]) -> None:
    book = opened("%chat far --audio rec", far="whisper-1")
    cell = book.run(1)
    book.page.evaluate(WATCH_MICROPHONE)
    cell.get_by_role("button", name="Record").click()
    expect(cell.get_by_role("status")).to_contain_text(RECORDING)
    assert book.page.evaluate(LISTENING)
    book.page.evaluate("window.jupyterapp.shell.currentWidget.dispose()")
    book.page.wait_for_function(f"!{LISTENING}")
    book.open()


def test_media_are_chinese(opened: Callable[..., Notebook]) -> None:
    book = opened(
        "%config ByzerMagics.lang = 'zh'",
        "%%chat voice --params response_format=wav\n你好",
        "%%chat draw\n猫",
        "%chat far --audio rec",
        voice="tts-1", draw="gpt-image-1.5", far="whisper-1",
    )  # fmt: skip
    for place in range(1, 5):
        book.run(place)
    expect(book.cell(4).get_by_role("button", name="录音")).to_be_visible()
    for place in range(2, 5):
        assert not english(book.output(place).inner_text(), "media", "recorder", "progress", "footer")
    book.screenshot("media-chinese")


def test_recorder_is_a_sentence_in_a_saved_notebook(opened: Callable[..., Notebook]) -> None:
    book = opened("%chat far --audio rec", far="whisper-1")
    expect(book.run(1).get_by_role("button", name="Record")).to_be_visible()
    book.reopen()
    expect(book.output(1)).to_have_text("A recorder for far; run this cell to use it.")

"""A chat window without its page: messages in, replies out, against a real pool and provider."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.types import Message
from byzer_magic.widgets.chat.controller import Window
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.page import envelope
from tests.conftest import KEY
from tests.ray.test_deploy import llama
from tests.servers.audio_files import wav
from tests.servers.process import Process
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.ray
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000"
    "000049454e44ae426082"
)


class Page:
    """Collects what a window sends."""

    def __init__(self, manager: Manager, alias: str, session: str | None = None) -> None:
        self.got: list[dict[str, Any]] = []
        self.kept: list[dict[str, str]] = []
        self.names: dict[str, Any] = {}
        self.context = Context(
            manager=manager, output=Terminal(), shell=SimpleNamespace(user_ns=self.names), variables=dict,
            has_kernel=True,
        )  # fmt: skip
        self.window = Window(self.context, alias, session, None, self.take, self.kept.append)

    def take(self, kind: str, /, *, reply_to: int = 0, **fields: Any) -> None:
        self.got.append(envelope(kind, reply_to, fields))

    def post(self, do: str, *buffers: bytes, **more: Any) -> None:
        self.window.receive({"type": do, **more}, buffers)

    def wait(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for message in self.got:
                if true(message):
                    self.got.remove(message)
                    return message
            time.sleep(0.01)
        raise AssertionError(self.got)

    def ask(self, text: str, **more: Any) -> dict[str, Any]:
        """Ask and return the turn when it has ended, with its `state`."""
        self.post("ask", text=text, **more)
        ended = self.wait(lambda message: message["type"] == "turn" and message["state"] != "working")
        return ended["turn"] | {"state": ended["state"]}

    def transcript(self, holds: str) -> dict[str, str]:
        """Return the saved output, once this text is in it."""
        assert eventually(lambda: self.kept and holds in str(self.kept[-1])), self.kept
        return self.kept[-1]


@pytest.fixture
def deploy(manager: Manager, provider: Process) -> Callable[..., str]:
    def one(alias: str, model: str = "gpt-4o") -> str:
        params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": model}
        spec = DeploySpec(
            model=alias, pretrained_model_type="saas/openai", cpus_per_worker=0.001, infer_params=params,
            worker_concurrency=1,
        )  # fmt: skip
        for _ in manager.iterate(manager.deploy(manager.plan(spec))):
            pass
        return alias

    return one


@pytest.fixture
def page(manager: Manager, deploy: Callable[..., str]) -> Page:
    return Page(manager, deploy("m"))


def test_chat_window_streams_a_response_in_blocks_and_keeps_it(page: Page) -> None:
    turn = page.ask("tokens:40@60")
    assert turn["state"] == "done"
    assert any(message["type"] == "blocks" for message in page.got)
    assert "t39" in turn["answer"]
    assert page.names["_chat"].text == turn["answer"]
    assert [message.role for message in page.context.sessions["chat-1"]] == ["user", "assistant"]
    assert "t39" in page.transcript("t39")["text/plain"]


def test_chat_window_sends_only_changes(page: Page) -> None:
    page.ask("say:" + "\n\n".join(f"paragraph {number}" for number in range(30)))
    shown = 0
    for message in page.got:
        if message["type"] == "blocks":
            assert message["begin"] >= shown - 1, "only the last block that was shown may have changed"
            shown = message["begin"] + len(message["blocks"])


def test_stop_frees_the_slot_and_keeps_the_partial_response(page: Page, manager: Manager) -> None:
    page.post("ask", text="tokens:2000@50")
    page.wait(lambda message: message["type"] == "blocks")
    page.post("stop")
    ended = page.wait(lambda message: message["type"] == "turn" and message["state"] == "stopped")
    assert ended["turn"]["answer"].startswith("t0")
    assert page.names["_chat"].interrupted
    assert eventually(lambda: manager.run(manager.stat("m")).busy == 0)
    assert page.ask("again")["answer"] == "Echo: again"


def test_edited_prompt_replaces_the_rest_of_the_conversation(page: Page, provider: Process) -> None:
    page.ask("say:one")
    second = page.ask("say:two")
    page.ask("say:three", at=second["id"])
    assert [message.content for message in page.context.sessions["chat-1"]] == [
        "say:one", "one", "say:three", "three",
    ]  # fmt: skip
    assert page.window.bundle()["text/plain"].count("You: ") == 2


def test_error_is_shown_in_its_turn_and_not_sent_again(page: Page) -> None:
    turn = page.ask("fault:context")
    assert turn["state"] == "failed"
    assert "bz-chat-error" in turn["blocks"][-1]
    assert "maximum context length" in "".join(turn["blocks"])
    assert "chat-1" not in page.context.sessions
    assert page.ask("say:fine", at=turn["id"])["answer"] == "fine"


def test_chat_window_runs_one_request_at_a_time(page: Page) -> None:
    page.post("ask", text="tokens:200@50")
    page.post("ask", text="other")
    refused = page.wait(lambda message: message["type"] == "refused")
    assert refused["prompt"] == "other"
    page.window.close()
    page.wait(lambda message: message["type"] == "turn" and message["state"] == "stopped")


def test_session_is_shared_with_the_chat_magic(page: Page) -> None:
    page.ask("say:one")
    earlier = page.context.sessions["chat-1"]
    page.context.sessions["chat-1"] = [*earlier, Message("user", "in a cell"), Message("assistant", "two")]
    page.window.refresh()
    shown = page.wait(lambda message: message["type"] == "setup")
    assert [turn["text"] for turn in shown["turns"]] == ["say:one", "in a cell"]
    assert "worker 0" in shown["turns"][0]["blocks"][-1], "what is known of the first stays"
    page.post("session", name="")
    assert page.wait(lambda message: message["type"] == "setup")["session"] == "chat-2"


def test_named_session_is_shared_with_other_notebooks(page: Page, manager: Manager) -> None:
    mine, other = Page(manager, "m", "tutor"), Page(manager, "m", "tutor")
    mine.ask("say:one")
    other.ask("say:two")
    assert [message.content for message in other.context.sessions["tutor"]] == ["say:one", "one", "say:two", "two"]
    mine.window.refresh()
    shown = mine.wait(lambda message: message["type"] == "setup")
    assert [turn["text"] for turn in shown["turns"]] == ["say:one", "say:two"]
    mine.ask("say:three")
    assert len(mine.context.sessions["tutor"]) == 6
    page.ask("say:my own")
    unnamed = Page(manager, "m")
    unnamed.ask("say:another")
    assert len(unnamed.context.sessions["chat-1"]) == 2, "a name that nobody has chosen is not shared"


def test_settings_are_sent_with_the_request(page: Page) -> None:
    page.post("settings", system="be brief", temperature="0.5", max_tokens="7", more="seed=1 top_p=0.9")
    page.wait(lambda message: message["type"] == "settings")
    page.ask("say:x")
    assert page.context.sessions["chat-1"][0] == Message("system", "be brief")
    assert page.window._options == {"temperature": 0.5, "max_tokens": 7, "seed": 1, "top_p": 0.9}
    page.post("settings", more="seed")
    assert "not key=value" in page.wait(lambda message: message["type"] == "refused")["text"]
    page.post("settings", max_tokens="many")
    assert "many" in page.wait(lambda message: message["type"] == "refused")["text"]


def test_image_is_sent_with_the_prompt(page: Page) -> None:
    half = len(PNG) // 2
    page.post("piece", PNG[:half], file="f1", kind="image", at=0, of=2)
    page.post("piece", PNG[half:], file="f1", kind="image", at=1, of=2)
    turn = page.ask("what is it?", files=["f1"])
    assert turn["state"] == "done"
    assert "data:image/png" in turn["prompt"]
    page.post("piece", b"no image", file="f2", kind="image", at=0, of=1)
    assert page.wait(lambda message: message["type"] == "refused")["file"] == "f2"


def test_audio_needs_a_model_that_accepts_audio(page: Page, deploy: Callable[..., str]) -> None:
    deploy("listen", "whisper-1")
    page.post("models")
    assert "transcribe" in page.wait(lambda message: message["type"] == "models")["models"]["listen"]
    page.post("piece", wav("hello there", 16_000), file="f1", kind="audio", at=0, of=1)
    turn = page.ask("write it down", files=["f1"])
    assert turn["state"] == "failed"
    assert "does not accept audio" in "".join(turn["blocks"])
    assert "Choose a model that does: listen." in "".join(turn["blocks"])
    page.post("model", alias="listen")
    assert page.ask("", at=turn["id"])["state"] == "done"


def test_speech_model_responds_with_a_player(manager: Manager, deploy: Callable[..., str]) -> None:
    page = Page(manager, deploy("voice", "tts-1"))
    turn = page.ask("Hello there.")
    assert turn["state"] == "done"
    assert "<audio" in "".join(turn["blocks"])
    assert "<audio" in page.transcript("<audio")["text/html"]
    assert page.context.sessions == {}


def test_export_works_after_the_model_is_undeployed(page: Page) -> None:
    page.ask("say:**x**")
    page.post("export", to="to_cells")
    sent = page.wait(lambda message: message["type"] == "export")
    assert sent["cells"] == ["%%chat m --session chat-1 --reset\nsay:**x**"]
    assert sent["text"].endswith("**m**\n\n**x**")
    page.post("model", alias="nobody")
    turn = page.ask("hello")
    assert turn["state"] == "failed"
    assert "nobody" in turn["blocks"][-1]


@pytest.mark.engine
def test_stop_cancels_a_real_model(manager: Manager, gguf: Path) -> None:
    for _ in manager.iterate(manager.deploy(manager.plan(llama(gguf)))):
        pass
    page = Page(manager, "l")
    page.post("settings", temperature="0", max_tokens="600")
    page.post("ask", text="Write a long story about the sea.")
    page.wait(lambda message: message["type"] == "blocks")
    page.post("stop")
    ended = page.wait(lambda message: message["type"] == "turn" and message["state"] == "stopped")
    assert ended["turn"]["answer"]
    turn = page.ask("Say hello.")
    assert turn["state"] == "done"
    assert len(page.context.sessions["chat-1"]) == 4

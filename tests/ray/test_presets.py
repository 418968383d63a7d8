"""Every preset deploys with one word and a token, and answers through its provider's API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.capabilities import purpose
from byzer_magic.catalog import presets
from byzer_magic.client.manager import Manager
from byzer_magic.client.model import Model
from byzer_magic.commands.spec import EasyDeploySpec
from tests.conftest import KEY
from tests.servers.process import Process, openai_api, own

pytestmark = pytest.mark.ray

OWN = {
    "saas/qianwen": ("dashscope", "/api/v1"),
    "saas/qianwen_vl": ("dashscope", "/api/v1"),
    "saas/claude": ("claude", ""),
    "saas/ollama": ("ollama", ""),
}
"""Providers with their own API: the test server, and the path of its URL. The others use OpenAI's API."""
ASKED: dict[str, Any] = {
    "chat": lambda model: model.chat("hello").text == "Echo: hello",
    "embed": lambda model: model.embed(["a", "b"]).shape[0] == 2,
    "rerank": lambda model: model.rerank("blue sky", ["no", "the blue sky"]).documents[0] == "the blue sky",
    "speak": lambda model: len(model.speak("hello").data) > 100,
    "image": lambda model: model.image("a cat").data.startswith(b"\x89PNG"),
    "transcribe": lambda model: "bytes of audio.wav" in model.transcribe(b"RIFF\0\0\0\0WAVEfmt ").text,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Process]]:
    names = ",".join(preset.model for preset in presets.load().values())
    with ExitStack() as running:
        found = {"openai_api": running.enter_context(openai_api(KEY, names))}
        for name, _ in OWN.values():
            if name not in found:
                found[name] = running.enter_context(own(name, KEY))
        yield found


@pytest.mark.parametrize("name", presets.load())
def test_preset_deploys_and_chats(
    name: str, manager: Manager, servers: dict[str, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    preset = presets.find(name)
    server, path = OWN.get(preset.pretrained_model_type, ("openai_api", "/v1"))
    given = {"saas.model": "llama3:70b-instruct-q4_0"} if server == "ollama" else {}
    easy = EasyDeploySpec(
        preset=name, token=KEY, alias="p", base_url=f"{servers[server].url}{path}", infer_params=given
    )
    run_all(Context(manager=manager, output=Terminal()), [easy])
    assert ASKED[purpose(manager.run(manager.capabilities("p"))).value](Model("p", manager))
    reported = capsys.readouterr()
    assert KEY not in reported.out + reported.err
    assert (preset.note in reported.err) == bool(preset.note) or not preset.note

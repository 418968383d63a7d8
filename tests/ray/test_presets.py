"""Every preset needs one word and a token and answers through its provider's API; one of each kind is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.capabilities import Capability, purpose
from byzer_magic.catalog import presets
from byzer_magic.client.manager import Manager
from byzer_magic.client.model import Model
from byzer_magic.commands.spec import EasyDeploySpec
from byzer_magic.plan import Plan
from tests.backends import ask, collect, text_of
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


DEPLOYED = {"gpt4o", "qwen-max", "qwen-vl-max", "sonnet3.5", "ollama"}
"""Presets of chat models that are deployed, one for each API; so are all of other models."""


def spec_of(name: str, servers: dict[str, Process], **more: bool) -> EasyDeploySpec:
    """Return what a user types: the preset and a token; with the test server's URL."""
    server, path = OWN.get(presets.find(name).pretrained_model_type, ("openai_api", "/v1"))
    given = {"saas.model": "llama3:70b-instruct-q4_0"} if server == "ollama" else {}
    url = f"{servers[server].url}{path}"
    return EasyDeploySpec(preset=name, token=KEY, alias="p", base_url=url, infer_params=given, **more)  # type: ignore[arg-type]


async def opened(plan: Plan) -> Capability | str:
    """Open a preset's backend as a pool does; return its answer, or its purpose, where that is not to chat."""
    backend = await plan.backend.open(plan.setup, lambda *_: None)
    try:
        wanted = purpose(frozenset(backend.capabilities()))
        return text_of(await collect(backend, ask("hello"))) if wanted == Capability.CHAT else wanted
    finally:
        await backend.close()


@pytest.mark.parametrize("name", presets.load())
def test_preset_deploys_and_answers(
    name: str, manager: Manager, servers: dict[str, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    preset, context = presets.find(name), Context(manager=manager, output=Terminal())
    answer = manager.run(opened(manager.plan(presets.spec(spec_of(name, servers)))))
    deployed = answer != "Echo: hello" or name in DEPLOYED
    run_all(context, [spec_of(name, servers, dry_run=not deployed)])
    if deployed:
        assert ASKED[purpose(manager.run(manager.capabilities("p"))).value](Model("p", manager))
    reported = capsys.readouterr()
    assert KEY not in reported.out + reported.err
    assert (preset.note in reported.err) == (bool(preset.note) and deployed) or not preset.note

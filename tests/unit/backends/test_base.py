"""Typing the parameters of backends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from byzer_magic import errors
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup, typed_params
from byzer_magic.capabilities import Capability
from byzer_magic.commands.secrets import Secret
from byzer_magic.types import ChatChunk, ChatRequest

INFO = Info(
    kind="saas/demo",
    title="Demo",
    params=(
        Param(name="saas.model", help="", required=True),
        Param(name="saas.key", help="", secret=True, env=("DEMO_KEY",)),
        Param(name="saas.timeout", help="", kind="float", default=5.0, aliases=("saas.wait",)),
        Param(name="saas.fast", help="", kind="bool"),
        Param(name="saas.mode", help="", choices=("a", "b")),
    ),
)


def test_typed_params_converts_values() -> None:
    found = typed_params(INFO, {"saas.model": "m", "saas.wait": "2", "saas.fast": "yes"}, {"DEMO_KEY": "k-123"})
    assert found == {"saas.model": "m", "saas.timeout": 2.0, "saas.fast": True, "saas.key": Secret("k-123")}
    assert "k-123" not in repr(found)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({}, errors.MissingKey, "saas/demo needs saas.model."),
        ({"saas.model": "m", "saas.mdoel": "m"}, errors.BadParameter, "Did you mean saas.model?"),
        ({"saas.model": "m", "model": "m"}, errors.BadParameter, "Did you mean saas.model?"),
        ({"saas.model": "m", "saas.timeout": "soon"}, errors.BadParameter, "not a number"),
        ({"saas.model": "m", "saas.fast": "maybe"}, errors.BadParameter, "not true or false"),
        ({"saas.model": "m", "saas.mode": "c"}, errors.BadParameter, "not one of a, b"),
    ],
)
def test_typed_params_rejects_wrong_values(given: dict[str, str], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        typed_params(INFO, given, {})
    assert words in str(caught.value)


class Chatting(Backend):
    """Answers with what it is asked for."""

    info = INFO

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Chatting:
        return cls()

    async def close(self) -> None:
        """Nothing is open."""

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        yield ChatChunk(str(request.options.get("lora")))


class Adapting(Chatting):
    takes_adapters = True


async def test_backend_without_adapters_refuses_them() -> None:
    request = ChatRequest(messages=[], options={"lora": "/models/lora"})
    assert [item.text async for item in Adapting().ask(Capability.CHAT, request)] == ["/models/lora"]  # type: ignore[union-attr]
    with pytest.raises(errors.Unsupported, match="Demo takes no LoRA adapters"):
        [item async for item in Chatting().ask(Capability.CHAT, request)]
    assert [item async for item in Chatting().ask(Capability.CHAT, ChatRequest(messages=[]))]

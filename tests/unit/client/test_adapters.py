"""The adapter in a model's name goes into the request."""

from __future__ import annotations

import pytest

from byzer_magic.client.adapters import with_adapter
from byzer_magic.errors import CommandError
from byzer_magic.types import ChatRequest, EmbedRequest, Request


@pytest.mark.parametrize("request_", [ChatRequest(messages=[], options={"seed": 1}), EmbedRequest(texts=["a"])])
def test_with_adapter_adds_the_option(request_: Request) -> None:
    assert with_adapter(request_, "pirate").options == {**request_.options, "lora": "pirate"}


def test_with_adapter_refuses_two() -> None:
    with pytest.raises(CommandError, match="chooses the LoRA adapter 'pirate'"):
        with_adapter(ChatRequest(messages=[], options={"lora": "poet"}), "pirate")

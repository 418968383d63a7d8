"""What OpenAI's and Anthropic's clients branch on: reasons, codes and cards in the words of their own APIs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import openai
import pytest

from byzer_magic import errors
from byzer_magic.types import STOPPED_AT, ChatChunk, Usage
from tests.endpoints import Running, Scripted, running

HI: Any = [{"role": "user", "content": "hi"}]

if TYPE_CHECKING:
    import anthropic


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(gpt="saas/openai", claude="saas/claude")) as found:
        yield found


@pytest.fixture
def claude(endpoint: Running) -> Iterator[anthropic.Anthropic]:
    import anthropic  # here, since each worker imports all files, and this takes 1.4 s

    with anthropic.Anthropic(base_url=endpoint.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(endpoint: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", ["claude", "gpt"])
@pytest.mark.parametrize(
    ("extra", "stops", "expected"),
    [
        ({STOPPED_AT: "END"}, ["END", "."], ("stop_sequence", "END")),
        ({STOPPED_AT: ""}, ["END"], ("stop_sequence", "END")),
        ({STOPPED_AT: ""}, ["END", "."], ("stop_sequence", None)),
        ({STOPPED_AT: "other"}, ["END"], ("end_turn", None)),
        ({}, ["END"], ("end_turn", None)),
        ({STOPPED_AT: ""}, [], ("end_turn", None)),
    ],
)
def test_answer_says_at_which_stop_sequence_it_ended(
    endpoint: Running, claude: anthropic.Anthropic, monkeypatch: pytest.MonkeyPatch, model: str,
    extra: dict[str, Any], stops: list[str], expected: tuple[str, str | None],
) -> None:  # fmt: skip
    chunks = [ChatChunk("hi"), ChatChunk(finish="stop", usage=Usage(1, 1), extra=extra)]
    monkeypatch.setattr(endpoint.scripted, "answer", lambda _alias, _request: chunks)
    asked: Any = {"model": model, "max_tokens": 5, "messages": HI, "stop_sequences": stops}
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for found in (claude.messages.create(**asked), streamed):
        assert (found.stop_reason, found.stop_sequence) == expected


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ({"provider_code": "insufficient_quota", "status": 429, "final": True}, "insufficient_quota"),
        ({"status": 402}, "insufficient_quota"),
        ({"status": 429}, "rate_limit_exceeded"),
    ],
)
def test_account_without_quota_is_told_from_a_limit_that_passes(
    endpoint: Running, gpt: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, details: dict[str, Any], code: str
) -> None:
    failure = errors.RateLimited("No more.", **details)
    monkeypatch.setattr(endpoint.scripted, "answer", lambda _alias, _request: [failure])
    with pytest.raises(openai.RateLimitError) as caught:
        gpt.chat.completions.create(model="gpt", messages=HI)
    assert caught.value.code == code
    assert (caught.value.response.headers.get("x-should-retry") == "false") is (code == "insufficient_quota")


def test_models_are_as_both_sdks_know_them(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for card in (claude.models.retrieve("gpt"), *claude.models.list()):
            assert card.model_dump(mode="json")["lifecycle"] == "active"
        for model in (gpt.models.retrieve("gpt"), *gpt.models.list()):
            assert model.model_dump(mode="json")["capabilities"] == ["chat"]

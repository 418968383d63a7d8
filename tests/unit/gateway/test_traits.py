"""What a backend of another package says of itself is what the endpoint goes by: no name of a provider is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.capabilities import Trait
from byzer_magic.types import ChatRequest
from tests.endpoints import Running, Scripted, running

KIND = "acme/chat"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(m=KIND)) as found:
        yield found


@pytest.fixture(params=list(itertools.chain([()], ((trait,) for trait in Trait))), ids=lambda found: "-".join(found))
def traits(request: pytest.FixtureRequest, endpoint: Running) -> tuple[Trait, ...]:
    """What the backend of the other package says."""
    found: tuple[Trait, ...] = request.param
    endpoint.scripted.traits = {KIND: [trait.value for trait in found]}
    endpoint.gateway.deployments._facts.clear()  # as if the deployment had been replaced
    endpoint.scripted.asked.clear()
    return found


def asked(endpoint: Running, **more: Any) -> list[ChatRequest]:
    """Return the requests that reach the deployment for one of a client."""
    with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0) as client:
        client.chat.completions.create(model="m", messages=[{"role": "developer", "content": "hi"}], **more)
    return [request for _alias, request in endpoint.scripted.asked if isinstance(request, ChatRequest)]


def test_several_answers_are_one_request_where_the_backend_gives_them(
    endpoint: Running, traits: tuple[Trait, ...]
) -> None:
    requests = asked(endpoint, n=3)
    assert [request.options.get("n") for request in requests] == ([3] if Trait.SEVERAL in traits else [None] * 3)


def test_fields_go_to_the_backends_that_take_them(endpoint: Running, traits: tuple[Trait, ...]) -> None:
    [request] = asked(endpoint, store=True, extra_body={"thinking": {"type": "enabled"}})
    assert ("store" in request.options) == (Trait.OPENAI_FIELDS in traits)
    assert (request.messages[0].role == "developer") == (Trait.OPENAI_FIELDS in traits)
    assert ("thinking" in request.options) == (Trait.ANTHROPIC_FIELDS in traits)


def test_what_a_backend_takes_is_looked_up_anew_after_an_error(endpoint: Running) -> None:
    """An update may have given the deployment another model."""
    endpoint.scripted.traits = {KIND: [Trait.OPENAI_FIELDS.value]}
    endpoint.gateway.deployments._facts.clear()
    endpoint.scripted.asked.clear()
    asked(endpoint)
    endpoint.scripted.traits = {KIND: []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint.scripted, "answer", lambda *_: [errors.BadRequest("Unknown role: developer")])
        with pytest.raises(openai.BadRequestError):
            asked(endpoint)
    request, refused, again = asked(endpoint)
    assert [turn.messages[0].role for turn in (request, refused, again)] == ["developer", "developer", "system"]


def test_json_mode_is_an_instruction_where_the_backend_has_none(endpoint: Running, traits: tuple[Trait, ...]) -> None:
    [request] = asked(endpoint, response_format={"type": "json_object"})
    assert ("response_format" in request.options) == (Trait.JSON_MODE in traits)
    assert ("JSON" in str(request.messages[0].content)) == (Trait.JSON_MODE not in traits)


def test_all_local_engines_run_in_the_cluster() -> None:
    for backend in registry.local().values():
        assert {Trait.ENGINE, Trait.IN_CLUSTER} <= backend.info.all_traits
    for kind in registry.saas_kinds():
        assert Trait.ENGINE not in registry.find(kind).info.all_traits


def test_rows_of_openai_itself_take_all_of_its_fields() -> None:
    own = {kind for kind in registry.saas_kinds() if Trait.OPENAI_FIELDS in registry.find(kind).info.traits}
    assert own == {"saas/openai", "saas/official_openai", "saas/reasoning_openai", "saas/azure_openai"}

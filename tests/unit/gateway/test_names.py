"""Clients see the names under which models are served, never an alias behind one, in what fails and what counts."""

from __future__ import annotations

import itertools
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import from_response, from_transport, truncated, unreachable, unreadable
from byzer_magic.gateway.problems import row_of
from byzer_magic.i18n import join, lazy_gettext as _, listed
from byzer_magic.types import ChatChunk, Request
from tests.endpoints import Running, Scripted, running
from tests.waiting import PATIENCE

SERVED = {"gpt-4o": "hidden", "small": "other"}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/audio/speech": {"input": "hi"},
    "/v1/images/generations": {"prompt": "hi"},
    "/v1/rerank": {"query": "hi", "documents": ["a"]},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {**CHAT, "max_tokens": 5},
    "/api/chat": CHAT,
    "/api/generate": {"prompt": "hi"},
    "/api/embed": {"input": "hi"},
}
WORKER = _("{alias} worker {index}", alias="hidden", index=0)
FAILURES = [
    errors.WorkerLost(_("{name}: the worker died during the request.", name="hidden")),
    errors.WorkerLost(_("{name}: the worker died during the request.", name=WORKER)),
    errors.DeadlineExceeded(_("{alias} did not finish within {seconds:g} s.", alias="hidden", seconds=1.0)),
    errors.RequestError(
        _("{alias} failed.", alias="hidden"),
        join("Wait.", _("To accept requests again: restart --model {alias}", alias="hidden")),
    ),
    errors.NotDeployed(
        _("{alias} could not be loaded: {error}", alias="hidden", error="no memory"),
        _("See logs --model {alias}; then deploy it again.", alias="hidden"),
    ),
    errors.Unsupported(
        _(
            "{alias} does not support {missing}; it supports: {capabilities}.",
            alias="hidden", missing="chat", capabilities=listed(["embed"]),
        ),
        _("These models have the capability {what}: {aliases}.", what="chat", aliases=listed(["hidden", "secret"])),
        needs=["chat"],
    ),
]  # fmt: skip


class Failing:
    """Answers with an error, at once or after a first piece."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def __call__(self, _alias: str, _request: Request) -> list[Any]:
        return self.items


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    kinds = {"hidden": "saas/openai", "other": "saas/openai", "secret": "saas/openai"}
    with running(Scripted(Failing(), **kinds), served=SERVED) as found:
        yield found


def answer(endpoint: Running, path: str, body: Any) -> str:
    request = urllib.request.Request(
        endpoint.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as err:
        with err:
            return err.read().decode()


@pytest.mark.parametrize("err", FAILURES, ids=range(len(FAILURES)))
@pytest.mark.parametrize("path", BODIES)
def test_errors_name_a_model_as_its_client_does(endpoint: Running, path: str, err: errors.ByzerError) -> None:
    for before in ([], [ChatChunk("a ")])[: 2 if CHAT.keys() <= BODIES[path].keys() else 1]:
        copied = type(err)(err.message, err.hint, **err.details)
        endpoint.scripted.answer = lambda _alias, _request, items=[*before, copied]: items  # type: ignore[misc]
        for stream in (False, True):
            said = answer(endpoint, path, {"model": "gpt-4o", "stream": stream, **BODIES[path]})
            assert "gpt-4o" in said
            assert "hidden" not in said
            assert "secret" not in said
            assert "error" in said


def test_unknown_names_are_answered_with_those_that_are_served(endpoint: Running) -> None:
    for path, body in BODIES.items():
        for name in ("hidden", "gpt-4", "other"):
            said = answer(endpoint, path, {"model": name, **body})
            assert "does not exist" in said
            assert {"hidden", "other"} & {*said.replace(f"'{name}'", "").split()} == set()


def test_metrics_have_the_served_names(endpoint: Running) -> None:
    with urllib.request.urlopen(f"{endpoint.url}/metrics", timeout=PATIENCE) as response:
        text = response.read().decode()
    assert 'byzer_queue{model="gpt-4o"}' in text
    assert 'model="hidden"' not in text


HOST = Endpoint("gpt-secret-2024", "https://api.hidden.example/v1")
OF_PROVIDERS = [
    *(
        from_response({"error": {"message": f"no {what} for gpt-secret-2024", "code": code}}, HOST, status)
        for what, code, status in (
            ("room", "", 429), ("entry", "", 401), ("way", "", 403), ("model", "", 404), ("luck", "", 500),
            ("money", "insufficient_quota", 429), ("sense", "", 400), ("space", "context_length_exceeded", 400),
            ("answer", "content_filter", 400), ("time", "", 408),
        )
    ),
    from_transport(ConnectionResetError("Server disconnected"), HOST),
    unreachable(HOST, "Cannot connect to host api.hidden.example:443"),
    unreadable(HOST, "a web page"),
    truncated(HOST),
]  # fmt: skip
DEPLOYERS = ("saas.", "--", "%byzer", "logs", "Ray", "api.hidden", "gpt-secret")
"""Words that mean nothing to whoever only has the URL of the endpoint."""


@pytest.mark.parametrize("err", OF_PROVIDERS, ids=range(len(OF_PROVIDERS)))
def test_clients_get_neither_the_provider_nor_advice_for_its_account(
    endpoint: Running, err: errors.ByzerError, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("byzer_magic.gateway"), "propagate", True)
    caplog.set_level(logging.WARNING, "byzer_magic.gateway")
    for before, stream in itertools.product(([], [ChatChunk("a ")]), (False, True)):
        items = [*before, type(err)(err.message, err.hint, **err.details)]
        endpoint.scripted.answer = lambda _alias, _request, items=items: items  # type: ignore[misc]
        said = answer(endpoint, "/api/chat", {"model": "gpt-4o", "stream": stream, **CHAT})
        message = json.loads(said.splitlines()[-1])["error"]
        assert not [word for word in DEPLOYERS if word in message], message
        assert message.endswith(".")
        assert ".." not in message
    if not row_of(err).is_clients:
        assert HOST.host in caplog.text, "whoever runs the endpoint reads it in its log"
        assert str(err.hint) in caplog.text


def test_sentence_without_an_end_gets_one_before_the_next(endpoint: Running) -> None:
    for message, hint, wanted in (
        ("It broke", "", "It broke. Tell whoever runs this endpoint."),
        ("It broke.", "", "It broke. Tell whoever runs this endpoint."),
        ("坏了", "", "坏了。Tell whoever runs this endpoint."),
    ):
        err = errors.RequestError(message, hint)
        endpoint.scripted.answer = lambda _alias, _request, items=(err,): items  # type: ignore[misc]
        assert json.loads(answer(endpoint, "/api/chat", {"model": "gpt-4o", **CHAT}))["error"] == wanted


async def test_capabilities_that_are_called_like_an_alias_stay() -> None:
    from byzer_magic.gateway.names import with_name

    text = _(
        "{alias} does not support {missing}; it supports: {capabilities}.",
        alias="chat", missing=listed(["chat"]), capabilities=listed(["embed"]),
    )  # fmt: skip
    err = with_name(errors.Unsupported(text), "chat", "gpt-4o")
    assert str(err) == "gpt-4o does not support chat; it supports: embed."

"""Who may use the endpoint, over HTTP: keys, their models and limits, and the pages of other sites."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai as sdk
import pytest

from byzer_magic import errors
from byzer_magic.gateway.access import Access, Neighbours
from byzer_magic.gateway.keys import KeyFile
from byzer_magic.gateway.problems import Problem
from byzer_magic.safety import tcp_peers
from byzer_magic.types import ChatChunk
from tests.endpoints import Running, Scripted, running
from tests.users import ALICE, as_user, needs_root
from tests.waiting import PATIENCE

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello world"}]}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def guarded(keys: KeyFile) -> Iterator[Running]:
    """An endpoint with a key of its command line, and stored keys."""
    with running(Scripted(m="saas/openai", n="saas/openai"), Access("master-key", keys)) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def free() -> Iterator[Running]:
    """An endpoint of this machine without keys."""
    with running(
        Scripted(), origins=["https://own.example"], cors={"allow_origins": ["https://own.example"]}
    ) as endpoint:
        yield endpoint


def fetch(url: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    data = None if body is None else json.dumps(body).encode()
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"content-type": "application/json", **found})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.loads(response.read() or b"null"), dict(response.headers)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, json.loads(err.read() or b"null"), dict(err.headers)


def test_key_is_needed_everywhere_but_for_health(guarded: Running) -> None:
    assert fetch(f"{guarded.url}/health")[0] == 200
    for path, body in (
        ("/v1/models", None), ("/v1/chat/completions", BODY), ("/v1/messages", BODY), ("/api/chat", BODY),
        ("/metrics", None), ("/v1/responses/x", None), ("/nowhere", None),
    ):  # fmt: skip
        assert fetch(guarded.url + path, body)[0] == 401, path
    assert fetch(f"{guarded.url}/v1/chat/completions", BODY, authorization="Bearer master-key")[0] == 200
    assert fetch(f"{guarded.url}/v1/chat/completions", BODY, x_api_key="master-key")[0] == 200


def test_refusal_has_the_wires_own_form(guarded: Running) -> None:
    with (
        sdk.OpenAI(base_url=f"{guarded.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(sdk.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    # By the type, LiteLLM and others tell a wrong key from a wrong request.
    assert caught.value.type == "authentication_error"
    status, body, _headers = fetch(f"{guarded.url}/v1/messages", BODY)
    assert (status, body["type"], body["error"]["type"]) == (401, "error", "authentication_error")


def test_key_sees_its_models_only(guarded: Running, keys: KeyFile) -> None:
    key = f"Bearer {keys.add('bob', models=['m'])}"
    listed = fetch(f"{guarded.url}/v1/models", authorization=key)[1]["data"]
    assert [model["id"] for model in listed] == ["m"]
    status, body, _headers = fetch(f"{guarded.url}/v1/chat/completions", {**BODY, "model": "n"}, authorization=key)
    assert status == 404
    assert "Did you mean" not in body["error"]["message"]
    assert "'n' does not exist. There are: m." in body["error"]["message"]
    assert not [alias for alias, _request in guarded.scripted.asked if alias == "n"]


def test_limit_holds_for_one_key_and_not_for_others(guarded: Running, keys: KeyFile) -> None:
    limited = f"Bearer {keys.add('carol', requests_per_minute=2)}"
    url = f"{guarded.url}/v1/chat/completions"
    found = [fetch(url, BODY, authorization=limited)[0] for _number in range(4)]
    assert found == [200, 200, 429, 429]
    status, body, headers = fetch(url, BODY, authorization=limited)
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(headers["retry-after"]) <= 60
    assert fetch(url, BODY, authorization="Bearer master-key")[0] == 200
    assert status == 429


def test_tokens_of_answers_count(guarded: Running, keys: KeyFile) -> None:
    key = f"Bearer {keys.add('dave', tokens_per_minute=60)}"
    long = {"model": "m", "messages": [{"role": "user", "content": "word " * 70}]}
    url = f"{guarded.url}/v1/chat/completions"
    assert fetch(url, long, authorization=key)[0] == 200
    assert fetch(url, BODY, authorization=key)[0] == 429


def left_for(endpoint: Running, name: str) -> int:
    """Return the tokens that the key with a name has left."""
    clients = {client.name: client for client in endpoint.gateway.access._clients.values()}
    return clients[name].tokens.left


def test_tokens_count_for_a_client_that_leaves_early(
    guarded: Running, keys: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys.add("erin", tokens_per_minute=1000)
    pieces = [ChatChunk("x" * 400, reasoning="y" * 400), asyncio.sleep(600)]
    monkeypatch.setattr(guarded.scripted, "answer", lambda _alias, _request: pieces)
    body = json.dumps({**BODY, "stream": True}).encode()
    bearer = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{guarded.url}/v1/chat/completions", body, bearer)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        assert response.readline()
        guarded.until(lambda: guarded.scripted.open == 1)
    guarded.until(lambda: guarded.scripted.open == 0)
    guarded.until(lambda: 780 <= left_for(guarded, "erin") <= 800)


def test_requests_that_fail_take_no_tokens(guarded: Running, keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"Bearer {keys.add('frank', tokens_per_minute=1000)}"
    url = f"{guarded.url}/v1/chat/completions"
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 2000}}
    monkeypatch.setattr(guarded.scripted, "answer", lambda _alias, _request: [errors.ProviderUnavailable("down")])
    for body, status in (
        ({**BODY, "model": "nothing" * 2000}, 404),
        ({"model": "m", "messages": [], "user": "x" * 30_000}, 400),
        ({"model": "m", "messages": [{"role": "user", "content": [image]}]}, 502),
        ({"model": "m", "messages": [{"role": "user", "content": "x" * 3000}]}, 502),
        ({"model": "m", "messages": [{"role": "user", "content": "x" * 300_000}]}, 502),
    ):
        assert fetch(url, body, authorization=key)[0] == status
        assert left_for(guarded, "frank") == 1000


def test_several_answers_count_as_several_requests(guarded: Running, keys: KeyFile) -> None:
    limited = f"Bearer {keys.add('grace', requests_per_minute=3)}"
    url = f"{guarded.url}/v1/chat/completions"
    assert fetch(url, {**BODY, "n": 3}, authorization=limited)[0] == 200
    assert fetch(url, BODY, authorization=limited)[0] == 429
    other = f"Bearer {keys.add('heidi', requests_per_minute=3)}"
    body = {"model": "m", "prompt": ["a", "b", "c"]}
    assert fetch(f"{guarded.url}/v1/completions", body, authorization=other)[0] == 200
    assert fetch(url, BODY, authorization=other)[0] == 429


def test_page_of_another_site_is_refused(free: Running) -> None:
    url = f"{free.url}/v1/chat/completions"
    asked = len(free.scripted.asked)
    assert fetch(url, BODY, origin="https://evil.example")[0] == 403
    assert fetch(url, BODY, host="evil.example")[0] == 403
    assert len(free.scripted.asked) == asked
    assert fetch(url, BODY)[0] == 200
    assert fetch(url, BODY, origin=free.url)[0] == 200


def test_page_that_is_allowed_gets_its_headers(free: Running) -> None:
    status, _body, headers = fetch(f"{free.url}/v1/chat/completions", BODY, origin="https://own.example")
    assert status == 200
    assert headers["access-control-allow-origin"] == "https://own.example"


def test_host_name_does_not_matter_where_a_key_is_needed(guarded: Running) -> None:
    found = fetch(f"{guarded.url}/v1/models", authorization="Bearer master-key", host="llm.example.org")
    assert found[0] == 200


@needs_root
def test_other_users_of_the_machine_are_refused(free: Running, guarded: Running) -> None:
    asked = len(free.scripted.asked)
    status, body, _headers = as_user(ALICE, lambda: fetch(f"{free.url}/v1/chat/completions", BODY))
    assert status == 403
    assert "key" in body["error"]["message"]
    assert len(free.scripted.asked) == asked
    with_key = as_user(
        ALICE, lambda: fetch(f"{guarded.url}/v1/chat/completions", BODY, authorization="Bearer master-key")
    )
    assert with_key[0] == 200


def test_client_that_has_closed_its_end_is_a_stranger() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ends = client.getsockname(), listening.getsockname()
        accepted, _address = listening.accept()
        with accepted:
            assert tcp_peers.uid_of(*ends) == os.geteuid()
            assert not tcp_peers.is_stranger(*ends)
            client.close()
            assert tcp_peers.is_stranger(*ends)


def test_metrics_of_all_are_for_those_who_may_see_them(guarded: Running, free: Running, keys: KeyFile) -> None:
    plain, flagged = keys.add("ivan"), keys.add("judy", metrics=True)
    for key, status in ((plain, 403), (flagged, 200), ("master-key", 200)):
        request = urllib.request.Request(f"{guarded.url}/metrics", headers={"authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                assert (response.status, b"byzer_requests" in response.read()) == (status, True)
        except urllib.error.HTTPError as err:
            with err:
                assert (err.code, b"ivan" in err.read()) == (status, True)
    with urllib.request.urlopen(f"{free.url}/metrics", timeout=PATIENCE) as response:
        assert response.status == 200


@pytest.mark.parametrize("local", [True, False])
def test_hosts_that_pages_cannot_lead_elsewhere(local: bool) -> None:
    neighbours = Neighbours((), local=local)
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "192.168.0.7:80", f"{socket.gethostname()}:8000"):
        neighbours.check({}, {b"host": host.encode()})
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "a:b:c"):
        with pytest.raises(Problem):
            neighbours.check({}, {b"host": host.encode()})


def test_local_models_fetch_nothing_for_keys(keys: KeyFile) -> None:
    def body(url: str, model: str) -> Any:
        parts = [{"type": "image_url", "image_url": {"url": url}}]
        return {"model": model, "messages": [{"role": "user", "content": parts}]}

    key = f"Bearer {keys.add('mallory')}"
    inner, data = "http://169.254.169.254/latest/meta-data", "data:image/png;base64,iVBORw0KGgo="
    with running(Scripted(m="custom/auto (vllm)", g="saas/openai"), Access("master", keys)) as endpoint:
        for url, model, given, status in (
            (inner, "m", key, 400), (data, "m", key, 200), (inner, "g", key, 200), (inner, "m", "Bearer master", 400),
        ):  # fmt: skip
            found = fetch(f"{endpoint.url}/v1/chat/completions", body(url, model), authorization=given)
            assert found[0] == status, found

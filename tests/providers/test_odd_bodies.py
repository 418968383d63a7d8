"""Every provider behind a server that answers oddly: what is no answer is an error, with the reason that it has."""

from __future__ import annotations

import gc
import json
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.types import SpeakRequest
from tests.backends import opened
from tests.providers.test_every_provider import CASES, Case, check_text
from tests.servers.scripted import response, scripted
from tests.waiting import PATIENCE

PROVIDERS = [case for case in CASES if case.key and case.kind not in ("saas/groq", "saas/qianwen_vl")]
"""One of each client."""


@pytest.fixture(scope="module", params=PROVIDERS, ids=[f"{case.name}-{case.params.split()[-1]}" for case in PROVIDERS])
def case(request: pytest.FixtureRequest, documented_provider: object) -> Case:
    found: Case = request.param
    return found


async def asked(case: Case, url: str) -> tuple[list[Any], errors.ByzerError | None]:
    """Return what the provider at `url` answers, and the error that ended it."""
    given = case.params.format(url=url, key=case.key) + f" timeout={PATIENCE} max_retries=0"
    params = {f"saas.{name}": value for name, _, value in (word.partition("=") for word in given.split())}
    backend = await opened(case.kind, params)
    request = case.request("hello")
    items: list[Any] = []
    try:
        method = backend.speak if isinstance(request, SpeakRequest) else backend.chat
        async with aclosing(method(request)) as answer:
            async for item in answer:
                items.append(item)  # noqa: PERF401 - what came before the error counts
    except errors.ByzerError as err:
        return items, err
    finally:
        await backend.close()
    return items, None


def body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


NO_ANSWERS: list[tuple[str, Any, str, str]] = [
    ("nothing", b"", "application/json", ""),
    ("nothing-as-stream", b"", "text/event-stream", ""),
    ("object", {}, "application/json", ""),
    ("list", [], "application/json", ""),
    ("null", None, "application/json", ""),
    ("msg", {"code": 1302, "msg": "too many at once for this account"}, "application/json", "too many at once"),
    ("message", {"message": "the model is being moved"}, "application/json", "the model is being moved"),
    ("base_resp", {"choices": None, "base_resp": {"status_code": 1013, "status_msg": "inner fault"}}, "text/plain",
     "inner fault"),
    ("success", {"success": False, "errors": [{"code": 7003, "message": "no such account"}]}, "application/json",
     "no such account"),
    ("error-text", {"error": "the worker died"}, "application/json", "the worker died"),
    ("detail", {"detail": [{"loc": ["body", "x"], "msg": "Field required"}]}, "application/json", "Field required"),
    ("json-in-text", {"error": '{"message": "the inner reason"}'}, "application/json", "the inner reason"),
    ("text", b"upstream connect error", "text/plain", "upstream connect error"),
    ("page", b"<html><head><title>502 Bad Gateway</title></head></html>", "text/html", "502 Bad Gateway"),
    ("bytes", b'{"error": "not UTF-8: \xe4\xbd"}', "application/json", "not UTF-8"),
    ("half-emoji", b'{"error": "half an emoji: \\ud83d"}', "application/json", "half an emoji"),
]  # fmt: skip
"""Bodies with status 200, their type, and what of them a user must read."""


@pytest.mark.parametrize(("said", "kind", "words"), [row[1:] for row in NO_ANSWERS], ids=[row[0] for row in NO_ANSWERS])
async def test_bodies_without_an_answer_are_errors(case: Case, said: Any, kind: str, words: str) -> None:
    async with scripted(lambda _: response(body(said), kind)) as server:
        items, error = await asked(case, server.url)
    assert items == []
    assert isinstance(error, errors.ProviderError)
    if case.kind != "saas/aws_bedrock":  # boto3 reads only the bodies of its protocol
        assert words in error.message
    assert "{'" not in error.message
    check_text(error, case)
    error.message.encode()  # no lone surrogate, which no socket takes


REFUSALS: list[tuple[str, int, Any, str]] = [
    ("msg", 429, {"code": 1302, "msg": "too many at once for this account"}, "too many at once"),
    ("errors", 400, {"success": False, "errors": [{"code": 7003, "message": "no such account"}]}, "no such account"),
    ("list", 400, [{"error": {"code": 400, "message": "that key is not valid", "status": "INVALID_ARGUMENT"}}],
     "that key is not valid"),
    ("detail", 422, {"detail": [{"type": "missing", "loc": ["body", "user"], "msg": "Field required"}]},
     "body.user: Field required"),
    ("oauth", 401, {"error": "invalid_client", "error_description": "no such client"}, "no such client"),
    ("text", 503, b"no healthy upstream", "no healthy upstream"),
    ("page", 502, b"<html>\n<title>502 Bad Gateway</title></html>", "502 Bad Gateway"),
    ("bytes", 500, b"broken \xe4\xbd text", "broken"),
    ("long", 422, {"detail": [{"msg": "not an image", "input": "iVBORw0KGgo" * 20_000}]}, "not an image"),
]  # fmt: skip
"""Status, body, and what of it a user must read."""


@pytest.mark.parametrize(("status", "said", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
async def test_refusals_quote_their_reason(case: Case, status: int, said: Any, words: str) -> None:
    kind = "application/json" if not isinstance(said, bytes) else "text/plain"
    async with scripted(lambda _: response(body(said), kind, status)) as server:
        _items, error = await asked(case, server.url)
    assert isinstance(error, errors.ProviderError)
    if case.kind != "saas/aws_bedrock":
        assert words in error.message
    assert "{'" not in error.message
    check_text(error, case)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_redirects_that_change_the_request_are_named(case: Case, status: int) -> None:
    def answer(line: str) -> list[bytes]:
        path = line.split()[1].partition("?")[0]
        return response(b"", "text/html", status, location=f"https://api.example.com{path}?key=planted")

    async with scripted(answer) as server:
        _items, error = await asked(case, server.url)
        assert len(server.received) == 1
    assert isinstance(error, errors.ProviderUnavailable)
    assert "planted" not in str(error)
    check_text(error, case)
    if (case.kind, status) == ("saas/aws_bedrock", 303):  # botocore itself fails while it reads that response
        gc.collect()  # and leaves its socket open: the warning belongs to this test
        return
    assert "redirects to https://api.example.com/" in error.message
    assert f"({status})" in error.message


@pytest.mark.parametrize("status", [307, 308])
async def test_redirects_to_another_host_take_nothing_along(case: Case, status: int) -> None:
    async with scripted(lambda _: response(b"{}")) as other:
        there = other.url.replace("127.0.0.1", "localhost")
        async with scripted(lambda _: response(b"", "text/html", status, location=there)) as server:
            _items, error = await asked(case, server.url)
        assert other.received == []
    assert isinstance(error, errors.ProviderUnavailable)
    assert f"redirects to {there}" in error.message


KEYS = ("authorization", "x-api-key", "api-key", "ocp-apim-subscription-key")


async def test_redirects_on_one_host_are_followed(case: Case) -> None:
    def answer(line: str) -> list[bytes]:
        if line.split()[1].startswith("/moved"):
            return response(body({"error": {"message": "the second place has answered"}}), status=400)
        return response(b"", "text/html", 308, location="/moved")

    async with scripted(answer) as server:
        _items, error = await asked(case, server.url)
        if case.kind == "saas/aws_bedrock":  # boto3 follows none
            assert len(server.received) == 1
            return
        (_, first, sent), (line, second, sent_again) = server.received
    assert (line.split()[:2], sent_again) == (["POST", "/moved"], sent)
    assert [second.get(name) for name in KEYS] == [first.get(name) for name in KEYS]
    assert "the second place has answered" in str(error)

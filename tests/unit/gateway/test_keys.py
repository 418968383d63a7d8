"""Keys of the endpoint: made once, stored as hashes, found and refused."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.gateway import access as module, command, keys as key_file
from byzer_magic.gateway.access import ANONYMOUS, MASTER, Access, Client
from byzer_magic.gateway.keys import PREFIX, KeyFile
from byzer_magic.gateway.meters import Meter
from byzer_magic.gateway.problems import Problem
from byzer_magic.log import redact
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Media, Message, Usage


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "folder" / "keys.json")


def headers(key: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {key}".encode()}


def test_keys_of_one_file_are_bounded(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "MOST", 3)
    for number in range(3):
        keys.add(f"key{number}")
    with pytest.raises(errors.CommandError, match="3 keys"):
        keys.add("one-more")
    keys.revoke("key0")
    keys.add("one-more")


def test_file_has_hashes_only_and_is_its_users_own(keys: KeyFile) -> None:
    key = keys.add("alice", models=["m"])
    content = keys.path.read_text()
    assert key not in content
    assert key.rpartition("-")[2] not in content
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert [(known.name, known.models) for known in keys.read()] == [("alice", ["m"])]


def test_keys_are_hidden_in_logs(keys: KeyFile) -> None:
    key = keys.add("alice")
    assert key.startswith(PREFIX)
    assert key not in redact(f"401 for {key}")


def test_key_is_accepted_in_both_headers_until_it_is_revoked(keys: KeyFile) -> None:
    key = keys.add("alice")
    access = Access(keys=keys)
    assert access.client(headers(key)).name == "alice"
    assert access.client({b"x-api-key": key.encode()}).name == "alice"
    for good, other in ((key, "dummy"), ("dummy", key)):  # SDKs send a made-up one beside it
        assert access.client({**headers(good), b"x-api-key": other.encode()}).name == "alice"
    with pytest.raises(Problem, match="not valid"):
        access.client({**headers("dummy"), b"x-api-key": b"dummy"})
    keys.revoke("alice")
    with pytest.raises(Problem, match="not valid"):
        access.client(headers(key))
    with pytest.raises(Problem, match="needs an API key"):  # without the last key the endpoint stays closed
        access.client({})


@pytest.mark.parametrize(
    "given",
    ["", "x", "sk-byzer", "sk-byzer-", "sk-byzer--", "sk-byzer-{id}", "sk-byzer-{id}-", "sk-byzer-{id}-x", "é" * 9,
     "sk-byzer-{id}-{secret}x", "{secret}", "x" * 10_000, "sk-byzer-{id}-{secret}" * 9],
)  # fmt: skip
def test_other_keys_are_refused(keys: KeyFile, given: str) -> None:
    key = keys.add("alice")
    _start, _sep, tail = key.partition(f"{PREFIX}-")
    identity, _dash, secret = tail.partition("-")
    with pytest.raises(Problem) as caught:
        Access(keys=keys).client({b"authorization": b"Bearer " + given.format(id=identity, secret=secret).encode()})
    assert caught.value.status == 401


def test_key_of_the_command_line_and_stored_keys_work_side_by_side(keys: KeyFile) -> None:
    key = keys.add("alice")
    access = Access("master-key", keys)
    assert access.client(headers("master-key")).name == "--api_key"
    assert access.client(headers(key)).name == "alice"


def test_expired_key_is_refused(keys: KeyFile) -> None:
    key = keys.add("alice", days=1e-9)
    time.sleep(0.001)
    with pytest.raises(Problem, match="alice has expired"):
        Access(keys=keys).client(headers(key))


def test_limit_of_requests_says_when_to_try_again(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1000.0, time=time.time))
    key = keys.add("alice", requests_per_minute=2)
    client = Access(keys=keys).client(headers(key))
    client.begin()
    client.begin()
    with pytest.raises(Problem) as caught:
        client.begin()
    assert caught.value.status == 429
    assert caught.value.retry_after == 60
    assert (b"retry-after", b"60") in caught.value.headers


def test_limit_of_tokens_counts_what_was_used(keys: KeyFile) -> None:
    key = keys.add("alice", tokens_per_minute=1000)
    client = Access(keys=keys).client(headers(key))
    for tokens in (900, 90):
        meter = Meter(client, ChatRequest(messages=[]))
        meter.add(Dispatched(0, 0.0))
        meter.add(ChatChunk("hi", usage=Usage(tokens - 1, 1)))
        meter.completed()
        meter.settle()
    assert client.tokens.left == 10
    with pytest.raises(Problem, match="1000 tokens a minute"):
        Meter(client, ChatRequest(messages=[Message("user", "word " * 80)]))


def test_estimate_is_of_text_and_at_most_the_limit(keys: KeyFile) -> None:
    client = Access(keys=keys).client(headers(keys.add("alice", tokens_per_minute=1000)))
    image: Any = [Media("image/png", b"x" * 100_000), {"data": "x" * 100_000}, {"url": "data:," + "x" * 9999}]
    for content, left in ((image, 996), ("x" * 400, 899), ("中" * 400, 699), ("x" * 100_000, 0)):
        meter = Meter(client, ChatRequest(messages=[Message("user", content)], options={"max_tokens": 0}))
        assert client.tokens.left in (left, left - 1)
        meter.settle()  # no deployment was asked
        assert client.tokens.left == 1000


def test_requests_at_once_fit_in_with_the_answers_that_they_may_have(keys: KeyFile) -> None:
    client = Access(keys=keys).client(headers(keys.add("alice", tokens_per_minute=1000)))
    for options, fit in (({"max_tokens": 300}, 3), ({"max_tokens": 10, "n": 30}, 3), ({}, 1), ({"max_tokens": 1e9}, 1)):
        running = []
        with pytest.raises(Problem, match="1000 tokens a minute"):
            for _time in range(20):
                running.append(Meter(client, ChatRequest(messages=[Message("user", "hi")], options=options)))  # noqa: PERF401 - those before the error stay
        assert len(running) == fit
        for meter in running:
            meter.settle()  # no deployment was asked
        assert client.tokens.left == 1000


def test_request_alone_needs_room_for_its_prompt_only(keys: KeyFile) -> None:
    client = Access(keys=keys).client(headers(keys.add("alice", tokens_per_minute=1000)))
    for _time in range(3):
        meter = Meter(client, ChatRequest(messages=[Message("user", "hi")], options={"max_tokens": 32_000}))
        meter.add(Dispatched(0, 0.0))
        meter.add(ChatChunk("hi", usage=Usage(100, 100)))
        meter.completed()
        meter.settle()
    assert client.tokens.left in (400, 401)


def test_several_answers_need_room_for_all_of_them(keys: KeyFile) -> None:
    client = Access(keys=keys).client(headers(keys.add("alice", tokens_per_minute=1000)))
    request = ChatRequest(messages=[], options={"max_tokens": 300})
    first = Meter(client, request)
    with pytest.raises(Problem, match="1000 tokens a minute"):
        Meter(client, request, answers=3)
    Meter(client, request, answers=2).settle()
    first.settle()


def test_more_answers_than_requests_are_refused(keys: KeyFile) -> None:
    client = Access(keys=keys).client(headers(keys.add("alice", requests_per_minute=4)))
    client.begin()
    with pytest.raises(Problem, match="asks for 5 answers") as caught:
        client.more(5)
    assert (caught.value.status, caught.value.again) == (400, False)
    client.more(3)
    client.begin()
    with pytest.raises(Problem) as caught:
        client.more(2)
    assert (caught.value.status, caught.value.again) == (429, True)


def test_what_nobody_reports_is_estimated() -> None:
    meter = Meter(Client("a"), ChatRequest(messages=[Message("user", "x" * 40)]))
    assert meter.counted is None
    meter.add(Dispatched(0, 0.0))
    for chunk in (ChatChunk("x" * 30), ChatChunk("x" * 30, "x" * 20), ChatChunk(usage=Usage(-5, -1))):
        meter.add(chunk)
    meter.completed()
    assert meter.counted == Usage(11, 20)


def test_limits_are_those_of_the_key_after_it_was_made_anew(keys: KeyFile) -> None:
    access = Access(keys=keys)
    first = access.client(headers(keys.add("alice", requests_per_minute=1)))
    first.begin()
    keys.revoke("alice")
    access.client(headers(keys.add("alice", requests_per_minute=5))).begin()


def test_names_are_taken_once(keys: KeyFile) -> None:
    keys.add("alice")
    with pytest.raises(errors.CommandError, match="There is a key with the name alice"):
        keys.add("alice")
    for name in ("a b", MASTER, ANONYMOUS, "-", "_a", "." * 3, "a" * 65):  # none that the endpoint itself has
        with pytest.raises(errors.CommandError, match="cannot be the name"):
            keys.add(name)
    with pytest.raises(errors.CommandError, match="Did you mean alice"):
        keys.revoke("alise")


@pytest.mark.parametrize("days", [0.0, -1.0, float("nan"), float("inf"), 1e308])
def test_key_that_expires_expires_some_day(keys: KeyFile, days: float) -> None:
    with pytest.raises(errors.CommandError, match="--days is"):
        keys.add("alice", days=days)
    assert not keys.exists


def test_key_made_anew_under_a_name_owns_nothing_of_the_other(keys: KeyFile) -> None:
    access = Access("master", keys)
    owners = {access.client(headers("master")).owner}
    for _time in range(2):
        owners.add(access.client(headers(keys.add("alice"))).owner)
        keys.revoke("alice")
    assert len(owners) == 3


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_can_write_lets_nobody_in(keys: KeyFile, mode: int) -> None:
    key = keys.add("alice")
    access = Access(keys=keys)
    assert access.client(headers(key)).name == "alice"
    keys.path.chmod(mode)
    with pytest.raises(errors.ConfigError, match="can be written by other users"):
        keys.add("bob")
    with pytest.raises(Problem) as caught:
        access.client(headers(key))
    assert caught.value.status == 503
    keys.path.chmod(0o600)
    assert access.client(headers(key)).name == "alice"


@pytest.mark.parametrize("content", ["[]", "{", '{"keys": [{"name": 1}]}', "\x00"])
def test_file_that_cannot_be_read_lets_nobody_in(keys: KeyFile, content: str) -> None:
    key = keys.add("alice")
    access = Access("master", keys)
    keys.path.write_text(content)
    with pytest.raises(errors.ConfigError):
        keys.read()
    for _time in range(2):
        with pytest.raises(Problem) as caught:
            access.client(headers(key))
        assert caught.value.status == 503
    assert access.client(headers("master")).name == "--api_key"


def test_endpoint_without_keys_does_not_open_when_their_file_breaks(keys: KeyFile) -> None:
    access = Access(keys=keys)
    assert access.client({}).name == ""
    keys.path.parent.mkdir()
    keys.path.write_text("{")
    for _time in range(2):
        with pytest.raises(Problem) as caught:
            access.client({})
        assert caught.value.status == 503


def test_link_in_place_of_the_file_is_not_followed(keys: KeyFile, tmp_path: Path) -> None:
    keys.path.parent.mkdir()
    other = tmp_path / "other.json"
    other.write_text("{}")
    keys.path.symlink_to(other)
    with pytest.raises(errors.ConfigError):
        Access(keys=keys).check()
    assert keys.path.readlink() == other


def test_keys_are_needed_also_without_the_last_one_and_in_another_process(keys: KeyFile) -> None:
    key = keys.add("alice")
    keys.revoke("alice")
    for access in (Access(keys=keys), Access(keys=KeyFile(keys.path), required=True)):
        for given in ({}, headers(key)):
            with pytest.raises(Problem) as caught:
                access.client(given)
            assert caught.value.status == 401


def test_file_that_has_gone_lets_nobody_in(keys: KeyFile) -> None:
    key = keys.add("alice")
    access = Access(keys=keys)
    assert access.client(headers(key)).name == "alice"
    keys.path.unlink()
    for found in (access, Access(keys=KeyFile(keys.path), required=True), Access(required=True)):
        for given in ({b"x-none": b""}, headers(key)):
            with pytest.raises(Problem) as caught:
                found.client(given)
            assert caught.value.status == 503
        with pytest.raises(errors.ConfigError, match="missing"):
            found.check()


def test_replica_without_the_keys_of_the_command_does_not_start(keys: KeyFile) -> None:
    with pytest.raises(errors.ConfigError, match="missing"):
        command.make(None, ServeSpec(), "", keys, closed=True)
    gateway = command.make(None, ServeSpec(), "", keys, closed=False)
    assert not gateway.access.required
    assert command.make(None, ServeSpec(), "master", keys, closed=True).access.required


def test_link_to_nowhere_is_a_file_of_keys(keys: KeyFile) -> None:
    keys.path.parent.mkdir(exist_ok=True)
    keys.path.symlink_to(keys.path.with_name("gone.json"))
    assert Access(keys=keys).required

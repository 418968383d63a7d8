"""`serve` and `serve keys` in a shell, as far as they need no Ray."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from byzer_magic.cli import main
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.gateway import command, notes
from byzer_magic.gateway.keys import KeyFile
from byzer_magic.safety import tcp_peers


def _refuse(*_arguments: object) -> None:
    raise AssertionError("a cluster was asked for")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of settings of its own."""
    monkeypatch.setenv("BYZER_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv(command.OLD_KEY, raising=False)
    monkeypatch.setattr(Manager, "ensure", _refuse)  # should something start all the same
    return tmp_path


def test_keys_are_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "keys", "list"]) == 0
    assert "serve keys add NAME" in capsys.readouterr().err
    assert main(["serve", "keys", "add", "alice", "--models", "a, b", "--tokens_per_minute", "9", "--days", "2"]) == 0
    key = capsys.readouterr().out.strip()
    assert main(["serve", "keys", "list", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["models"], row["tokens_per_minute"]) == ("alice", ["a", "b"], 9)
    assert row["id"] in key
    assert main(["serve", "keys", "revoke", "alice"]) == 0
    assert KeyFile().read() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ssl_keyfile", "k.pem"], "--ssl_keyfile needs --ssl_certfile"),
        (["--ssl_certfile", "/no/such.pem"], "/no/such.pem does not exist"),
        (["--served_model_name", "a=,b"], "a name is missing"),
        (["--allowed_origins", "[1]"], "which is not a list"),
        (["--api_key", "${NO_SUCH_KEY_AT_ALL}"], "NO_SUCH_KEY_AT_ALL"),
        (["--api_key", " "], "--api_key is empty"),
        (["--host", "192.0.2.77"], "'192.0.2.77' is not an address of this machine"),
        (["--port", "70000"], "--port is 70000"),
        (["--num_replicas", "0"], "below its minimum"),
        (["keys", "add", "a b"], "cannot be the name"),
        (["keys", "add", "a", "--days", "0"], "not above 0"),
        (["keys", "add", "a", "--days", "1e308"], "at most 36500"),
        (["keys", "add", "a", "--models", ""], "--models is empty"),
        (["keys", "add", "a", "--models", ","], "--models is empty"),
        (["keys", "add", "a", "--models", "[]"], "--models is empty"),
        (["keys", "add", "a", "--models", '[" "]'], "--models is empty"),
        (["--allowed_origins", "https://a.example", "--allowed_methods", ""], "--allowed_methods is empty"),
        (["--allowed_origins", "https://a.example", "--allowed_headers", " , "], "--allowed_headers is empty"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words]) in (1, 2)
    assert message in capsys.readouterr().err


def test_port_in_use_is_said_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["serve", "--port", str(other.getsockname()[1])]) == 1
    assert "Choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("words", "english", "chinese"),
    [
        (["--port", "99999"], "--port is 99999, which is not between 0 and 65535.", "99999"),
        (["--host", "192.0.2.1"], "'192.0.2.1' is not an address of this machine.", "192.0.2.1"),
        (["--host", "no such host"], "'no such host' is not an address of this machine.", "no such host"),
        (["--port", "{used}"], "Port {used} of 127.0.0.1 is in use.", "{used}"),
        (["--ssl_certfile", "{folder}"], "{folder} is a folder.", "{folder}"),
    ],
)
def test_why_it_does_not_start_is_said_in_the_users_language(
    words: list[str], english: str, chinese: str, lang: str, config: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("BYZER_LANG", lang)
    with socket.create_server(("127.0.0.1", 0)) as other:
        places = {"used": other.getsockname()[1], "folder": config}
        assert main(["serve", *(word.format(**places) for word in words)]) == 1
    said = capsys.readouterr().err
    assert (english if lang == "en" else chinese).format(**places) in said
    assert "while attempting" not in said
    assert "or --host 127.0.0.1" not in said


def test_encrypted_key_is_said_to_be_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(config / "cert.pem")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (config / "key.pem").write_bytes(encrypted)
    files = ["--ssl_certfile", str(config / "cert.pem"), "--ssl_keyfile", str(config / "key.pem")]
    assert main(["serve", *files, "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert f"{config / 'key.pem'} is encrypted" in said
    assert "openssl pkey" in said


def test_what_stands_in_place_of_the_keys_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = config / "keys.json"
    keys.write_text("{")
    assert main(["serve", "keys", "list"]) == 1
    said = capsys.readouterr().err
    assert "Restore it" in said
    assert "Remove" not in said
    keys.unlink()
    keys.mkdir()
    assert main(["serve", "keys", "list"]) == 1
    assert f"{keys} is a folder" in capsys.readouterr().err
    keys.rmdir()
    keys.symlink_to(config / "other.json")
    assert main(["serve", "keys", "list"]) == 1
    assert f"{keys} is a link" in capsys.readouterr().err


def test_typed_key_is_in_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--api_key", "planted-key-7781", "--port", "70000"]) == 1
    assert "planted-key" not in capsys.readouterr().err


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "::1", "[::1]", "0x7f.0.0.1", "::ffff:127.0.0.1"])
def test_loopback_is_what_a_host_stands_for(host: str) -> None:
    assert command.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "", "no such host"])
def test_other_addresses_are_no_loopback(host: str) -> None:
    assert not command.is_loopback(host)


def test_system_that_tells_no_peer_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = []
    context = SimpleNamespace(output=SimpleNamespace(say=output.append))
    for tells, closed, warned in ((True, False, False), (False, False, True), (False, True, False)):
        output.clear()
        monkeypatch.setattr(tcp_peers, "tells", lambda tells=tells: tells)
        command._warn(context, ServeSpec(), closed=closed)
        assert any("does not tell" in text for text in output) is warned


def test_key_of_the_variable_is_said_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    output: list[str] = []
    context = SimpleNamespace(output=SimpleNamespace(say=output.append), variables=dict)
    assert command.key_of(context, ServeSpec(api_key="one")) == "one"
    assert not output
    monkeypatch.setenv(command.OLD_KEY, "other-key")
    assert command.key_of(context, ServeSpec(api_key="one")) == "other-key"
    assert command.OLD_KEY in output[0]
    assert "other-key" not in output[0]


def test_names_of_what_is_not_deployed_are_noted(tmp_path: Path) -> None:
    async def stats() -> list[SimpleNamespace]:
        return [SimpleNamespace(model="gpt"), SimpleNamespace(model="base")]

    manager: Any = SimpleNamespace(run=asyncio.run, stats=stats)
    keys = KeyFile(tmp_path / "keys.json")
    keys.add("all")
    assert notes.missing(manager, None, keys) == []
    keys.add("some", models=["gpt", "gtp", "base:adapter"])
    [note] = notes.missing(manager, None, keys)
    assert "some may use gtp" in note
    assert notes.missing(manager, None, keys, "all") == []
    ghost, *others = notes.missing(manager, "g=gpt,ghost=nosuch,b=base:adapter", keys)
    assert "ghost is served, but nosuch is not deployed" in ghost
    assert [note.partition(" may use ")[2].partition(",")[0] for note in others] == ["gpt", "gtp", "base:adapter"]


def test_note_about_a_new_key_does_not_hide_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "keys", "add", "alice", "--models", "nosuch"]) == 0  # nothing is known without a cluster
    assert "sk-byzer-" in capsys.readouterr().out

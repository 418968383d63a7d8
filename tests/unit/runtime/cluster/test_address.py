"""Which cluster is meant, and what an address that cannot be used is called."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from byzer_magic.config import Settings, load
from byzer_magic.errors import CannotConnect
from byzer_magic.runtime.cluster.address import Target, check, from_environment, resolve
from byzer_magic.runtime.cluster.listeners import split


@pytest.fixture(autouse=True)
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_ADDRESS", "BYZER_RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "config.toml"
    monkeypatch.setenv("BYZER_CONFIG", str(file))
    return file


def refusal(target: Target) -> CannotConnect:
    with pytest.raises(CannotConnect) as caught:
        check(target)
    return caught.value


class TestResolve:
    def test_command_is_before_settings_and_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "c:3")
        assert resolve("a:1", Settings(ray_address="b:2")) == Target("a:1")

    def test_variable_of_ours_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "c:3")
        monkeypatch.setenv("BYZER_RAY_ADDRESS", " b:2 ")
        assert resolve("auto", load()) == Target("b:2", "BYZER_RAY_ADDRESS")

    def test_settings_file_is_named(self, config_file: Path) -> None:
        config_file.write_text('ray_address = "b:2"')
        assert resolve("auto", load()) == Target("b:2", str(config_file))

    def test_ray_address_of_the_environment_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "\tc:3\n")
        assert resolve("auto", Settings()) == Target("c:3", "RAY_ADDRESS")

    @pytest.mark.parametrize("value", ["auto", " AUTO ", "", "  ", '"auto"', "'auto'"])
    def test_auto_in_ray_address_means_this_machine(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert resolve("auto", Settings()) == Target("auto")
        assert resolve("", Settings()).is_here

    def test_local_leads_past_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "c:3")
        assert resolve("local", Settings()).is_here
        assert resolve("Local", Settings()).address == "local"


URL = "is the URL of a dashboard (Ray Jobs), not the address of a Ray head."
CLIENT = "is the URL of a Ray Client server, not the address of a Ray head."
PORTLESS = "is not the address of a Ray head: it has no port."
BRACKETS = "is not the address of a Ray head: an IPv6 address needs brackets and a port."
OTHER = "is not the address of a Ray head."


@pytest.mark.parametrize(
    ("value", "what", "example"),
    [
        ("http://10.0.0.7:8265", URL, "10.0.0.7:6379"),
        ("https://ray.example.com/dash?x=1", URL, "ray.example.com:6379"),
        ("HTTP://[fe80::1]:8265", URL, "[fe80::1]:6379"),
        ("ray://head:10001", CLIENT, "head:6379"),
        ("10.0.0.7", PORTLESS, "10.0.0.7:6379"),
        ("head", PORTLESS, "head:6379"),
        ("[::1]", PORTLESS, "[::1]:6379"),
        ("::1", BRACKETS, "[::1]:6379"),
        ("fe80::1:6380", BRACKETS, "[fe80::1]:6380"),
        ("10.0.0.7:port", OTHER, "10.0.0.7:6379"),
        ("10.0.0.7:99999", OTHER, "10.0.0.7:6379"),
        (":6379", OTHER, "10.0.0.5:6379"),
        ("redis://10.0.0.7:6379", OTHER, "10.0.0.7:6379"),
        ("a b:6379", OTHER, "10.0.0.5:6379"),
        ("http://[", URL, "10.0.0.5:6379"),
    ],
)
def test_unusable_value_is_named_with_its_source_and_a_way_out(value: str, what: str, example: str) -> None:
    err = refusal(Target(value, "RAY_ADDRESS"))
    assert err.message == f"RAY_ADDRESS={value!r} {what}"
    assert f"e.g. {example}" in err.hint
    assert "unset RAY_ADDRESS" in err.hint
    assert "%env RAY_ADDRESS=auto" in err.hint
    assert refusal(Target(value)).message == f"{value!r} {what}"
    assert f"--ray_address {example}" in refusal(Target(value)).hint


def test_unusable_value_of_the_settings_file_names_the_file(config_file: Path) -> None:
    err = refusal(Target("10.0.0.7", str(config_file)))
    assert err.message == f"ray_address='10.0.0.7' ({config_file}) {PORTLESS}"
    assert err.hint.startswith(f"Set ray_address in {config_file} to host:port, e.g. 10.0.0.7:6379")


def test_password_in_a_url_is_not_shown() -> None:
    err = refusal(Target("http://me:secret-7@10.0.0.7:8265", "RAY_ADDRESS"))
    assert "secret-7" not in str(err)


def test_dead_cluster_is_named_with_its_source() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        err = refusal(Target(address, "RAY_ADDRESS"))
        assert err.message == f"Nothing is listening at {address}, which RAY_ADDRESS names."
        assert "unset RAY_ADDRESS" in err.hint
        assert refusal(Target(address)).message == f"Nothing is listening at {address}."


def test_unknown_host_is_named() -> None:
    err = refusal(Target("nohost.invalid:6379", "BYZER_RAY_ADDRESS"))
    assert err.message == "BYZER_RAY_ADDRESS='nohost.invalid:6379': there is no machine named 'nohost.invalid'."


def test_check_passes_where_something_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check(Target(f"127.0.0.1:{server.getsockname()[1]}"))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_the_environment_is_used_or_named(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", value)
        target = from_environment()
        if not target.is_here and split(target.address) is None:  # others are looked up
            err = refusal(target)
            assert err.message.startswith("RAY_ADDRESS=")
            assert "unset RAY_ADDRESS" in err.hint

"""Who listens at an address."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given, strategies as st

from byzer_magic.runtime.cluster import listeners
from tests.users import ALICE, needs_root

NAMES = st.from_regex(r"[a-z][a-z0-9.-]*", fullmatch=True)
HOSTS = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda ip: f"[{ip}]") | NAMES


@given(HOSTS, st.integers(1, 65535))
def test_split_returns_host_and_port(host: str, port: int) -> None:
    assert listeners.split(f"{host}:{port}") == (host.strip("[]"), port)


@given(st.text())
def test_split_refuses_or_returns_what_a_socket_takes(text: str) -> None:
    found = listeners.split(text)
    assert found is None or (found[0] and 0 < found[1] < 65536)


REFUSED = ("", ":1", "h", "h:", "h:0", "h:65536", "h:1 ", "a b:1", "::1:6379", "[x]:1", "http://h:1", "h:٦")


@pytest.mark.parametrize("address", REFUSED)
def test_split_refuses(address: str) -> None:
    assert listeners.split(address) is None
    assert not listeners.is_up(address)
    assert listeners.owner(address) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_owner_is_the_user_of_the_listening_process(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} here")
        server.listen()
        address = f"[{host}]:{server.getsockname()[1]}" if ":" in host else f"{host}:{server.getsockname()[1]}"
        assert listeners.owner(address) == os.getuid()
        assert listeners.is_up(address)
    assert listeners.owner(address) is None
    assert not listeners.is_up(address)


def test_owner_of_a_listener_on_all_addresses() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        assert listeners.owner(f"127.0.0.1:{port}") == os.getuid()
        assert listeners.owner(f"192.0.2.77:{port}") is None, "an address of another machine"


@needs_root
def test_owner_is_another_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.fchown(server.fileno(), ALICE, ALICE)
        assert listeners.owner(f"127.0.0.1:{server.getsockname()[1]}") == ALICE

"""The address of a Ray on loopback, as every driver reaches it."""

from __future__ import annotations

import socket

import pytest

from byzer_magic.runtime.cluster import loopback


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "localhost:6379", "[::1]:6379", "LocalHost:6379"])
def test_ray_replaces_no_spelled_address(address: str) -> None:
    from ray._private import services

    spelled = loopback.spelled(address)
    assert services.canonicalize_bootstrap_address(spelled) == spelled


@pytest.mark.parametrize("address", ["10.0.0.5:6379", "[fd00::2]:6379", "head:6379", "auto", ""])
def test_other_addresses_stay(address: str) -> None:
    assert loopback.plain(address) == loopback.spelled(address) == loopback.for_ray(address) == address


def test_name_becomes_the_number_that_ray_has_for_it() -> None:
    from ray._common.network_utils import build_address, get_localhost_ip

    for name in ("localhost", "LOCALHOST"):
        assert loopback.plain(f"{name}:6379") == build_address(get_localhost_ip(), 6379)


def test_ray_that_listens_on_a_network_card_is_reached_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    monkeypatch.setattr(services, "get_node_ip_address", lambda: "127.0.0.2")  # Ray keeps that of an earlier test
    with socket.create_server(("", 0)) as everywhere, socket.create_server(("127.0.0.1", 0)) as here:
        ports = [server.getsockname()[1] for server in (everywhere, here)]
        assert [loopback.for_ray(f"127.0.0.1:{port}") for port in ports] == [
            f"127.0.0.1:{ports[0]}",
            f"LOCALHOST:{ports[1]}",
        ]

"""Whose certificates a cluster uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.errors import ConfigError
from byzer_magic.runtime.cluster import authority
from byzer_magic.runtime.transport import tls
from byzer_magic.runtime.transport.server import Server

ON = {"RAY_USE_TLS": "1"}


@pytest.fixture
def of_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tls.Identity:
    """The certificate of a Ray with TLS: in files that three variables name."""
    pair, signer = tls.key_pair("127.0.0.1"), tls.new_authority()
    identity = tls.Identity(tls.certify(signer, pair.request).certificate, pair.key, signer.certificate)
    texts = (identity.certificate, identity.key, identity.authority)
    for name, text in zip(authority.RAY_FILES, texts, strict=True):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("RAY_USE_TLS", "1")
    return identity


async def test_identity_is_that_of_ray_where_its_tls_is_on(of_ray: tls.Identity, tmp_path: Path) -> None:
    for identify in (authority.identity, authority.identity_of_controller):
        server = Server({}, path=tmp_path / "p.sock", host="127.0.0.1", token="t", identify=identify)
        await server.start(tcp=True)
        assert server.endpoint("").authority == of_ray.authority
        server.stop()


@pytest.mark.parametrize("name", authority.RAY_FILES)
async def test_missing_file_of_ray_is_named(
    of_ray: tls.Identity, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_ray.key
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} names no file"):
        await authority.identity("127.0.0.1")
    monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=f"{name} names no file"):
        await authority.identity("127.0.0.1")
    monkeypatch.setenv("RAY_USE_TLS", "0")
    assert authority.of_ray() is None

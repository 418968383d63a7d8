"""What the clients of the official SDKs share: certificates, read once."""

from __future__ import annotations

import ssl
from typing import Any

import openai
import pytest

from byzer_magic.backends import registry
from byzer_magic.backends.http import sdk
from tests.backends import setup_of


async def test_certificates_are_read_once_for_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(registry.find("saas/openai"), {"saas.model": "m", "saas.api_key": "sk-planted-1"})
    read: list[Any] = []
    load = ssl.SSLContext.load_verify_locations

    def loading(context: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        read.append(context)
        load(context, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", loading)
    sdk._default_context.cache_clear()
    for _deployment in range(2):
        client, _http = sdk.http_client(openai, setup, "https://api.x.com/v1")
        await client.aclose()
    assert len(read) == 1
    assert read[0].verify_mode == ssl.CERT_REQUIRED

"""Parameters of providers with the OpenAI API."""

from __future__ import annotations

from byzer_magic.backends import registry
from byzer_magic.backends.base import typed_params


def test_key_from_the_environment_is_not_sent_to_another_url() -> None:
    info = registry.find("saas/openai").info
    environ = {"OPENAI_API_KEY": "sk-of-openai"}
    assert typed_params(info, {"saas.model": "m"}, environ)["saas.api_key"].reveal() == "sk-of-openai"
    elsewhere = typed_params(info, {"saas.model": "m", "saas.base_url": "http://127.0.0.1:9/v1"}, environ)
    assert "saas.api_key" not in elsewhere

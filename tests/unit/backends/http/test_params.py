"""Parameters that providers share."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.http import params
from byzer_magic.commands.secrets import Secret


def test_secrets_of_returns_keys_and_header_values() -> None:
    given = {"saas.api_key": Secret("sk-1"), "saas.extra_headers": {"X-Token": "t-2"}, "saas.model": "m"}
    assert params.secrets_of(given) == ("sk-1", "t-2")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https:/host/v1", "Write saas.base_url=https://host/v1"),
        ("https:host", "Write saas.base_url=https://host"),
        ("host:80", "Use a URL such as https://api.x.com"),
    ],
)
def test_check_url_hint_has_a_valid_url(url: str, hint: str) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        params.check_url({"saas.base_url": url}, "saas.base_url", "https://api.x.com")
    assert caught.value.hint == hint


def test_check_objects_rejects_other_json() -> None:
    params.check_objects({"saas.extra_body": {"a": 1}})
    with pytest.raises(errors.BadParameter, match=r"saas.extra_body is not a JSON object"):
        params.check_objects({"saas.extra_body": [1]})


def test_missing_key_asks_for_secrets_only() -> None:
    error = params.missing_key("saas/x", "saas.api_key", "X_KEY", ask_for="saas.api_key")
    assert str(error) == "saas/x needs saas.api_key.\nAdd --infer_params saas.api_key=${YOUR_KEY} or set X_KEY."
    assert error.details == {"param": "saas.api_key"}
    assert params.missing_key("saas/x", "saas.region", "X_REGION", value="eastus").details == {}

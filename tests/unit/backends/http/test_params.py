"""Parameters that providers share."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, strategies as st

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


HOSTS = [
    "1.2.3.4:port",
    "1.2.3.4:99999",
    "1.2.3.4:0",
    "1.2.3.4 :9",
    "[::1",
    "a..b",
    "a" * 64 + ".test",
    "",
    ":80",
    "me:pw@:80",
]


@pytest.mark.parametrize("host", HOSTS)
def test_check_url_refuses_what_no_request_can_go_to(host: str) -> None:
    with pytest.raises(errors.BadParameter, match=r"has no valid host or port") as caught:
        params.check_url({"saas.base_url": f"http://{host}/v1"}, "saas.base_url", "https://api.x.com")
    assert "https://api.x.com" in str(caught.value.hint)


@pytest.mark.parametrize("sign", ["\u3002", "\uff0c", "\u201d", '"', " ", ">", "\u3001"])
def test_check_url_names_what_was_copied_with_it(sign: str) -> None:
    with pytest.raises(errors.BadParameter, match="no URL has") as caught:
        params.check_url({"saas.base_url": f"http://10.0.0.1/v1{sign}x"}, "saas.base_url", "https://api.x.com")
    assert repr(sign) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["HTTP://LOCALHOST:1/v1", "http://[::1]:8000", "https://my_host.test/", "https://\u4f8b\u3048.test/v1",
     "http://me:p%20w@h:1/v1?a=b,c;d#x", "http://api.x.com./\u6a21\u578b", "http://2130706433"],
)  # fmt: skip
def test_check_url_takes_every_url(url: str) -> None:
    params.check_url({"saas.base_url": url}, "saas.base_url", "https://api.x.com")


@given(st.text() | st.text().map("http://{}".format))
def test_check_url_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(errors.BadParameter):
        params.check_url({"saas.base_url": text}, "saas.base_url", "https://api.x.com")


def test_check_objects_rejects_other_json() -> None:
    params.check_objects({"saas.extra_body": {"a": 1}})
    with pytest.raises(errors.BadParameter, match=r"saas.extra_body is not a JSON object"):
        params.check_objects({"saas.extra_body": [1]})


def test_missing_key_asks_for_secrets_only() -> None:
    error = params.missing_key("saas/x", "saas.api_key", "X_KEY", ask_for="saas.api_key")
    assert str(error) == "saas/x needs saas.api_key.\nAdd --infer_params saas.api_key=${YOUR_KEY} or set X_KEY."
    assert error.details == {"param": "saas.api_key"}
    assert params.missing_key("saas/x", "saas.region", "X_REGION", value="eastus").details == {}

"""Which redirects are followed, and what is said about the others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.redirects import Redirected, check, followed, not_followed

URL = "https://api.x.com/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        (URL, "/v2/chat", "https://api.x.com/v2/chat"),
        (URL, "https://api.x.com:443/v2", "https://api.x.com:443/v2"),
        ("http://api.x.com/v1", "https://api.x.com/v1", "https://api.x.com/v1"),
        ("http://h:8000/v1", "/v1/", "http://h:8000/v1/"),
    ],
)
@pytest.mark.parametrize("status", [307, 308])
def test_same_request_on_one_host_is_followed(status: int, url: str, location: str, target: str) -> None:
    assert followed(status, url, location) == target


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "/v2"), (302, "/v2"), (303, "/v2"), (308, None), (308, "https://other.com/v1"), (307, "//other.com/v1"),
        (308, "http://api.x.com/v1"), (308, "https://api.x.com:8443/v1"), (308, "https://api.x.com:x/v1"),
        (308, "https://api.x.com.evil.com/v1"), (308, "https://api.x.com@evil.com/v1"),
        (307, "http://[::bad"), (308, "//[x"),
    ],
)  # fmt: skip
def test_other_redirects_are_not_followed(status: int, location: str | None) -> None:
    with pytest.raises(Redirected):
        followed(status, URL, location)


ENDPOINT = Endpoint("m", "https://api.x.com/v1/", ("planted-key-0123",))


@pytest.mark.parametrize(
    ("location", "message", "hint"),
    [
        ("https://new.com/api/v1/chat/completions", "redirects to https://new.com/api/v1/chat/completions (302)",
         "saas.base_url=https://new.com/api/v1"),
        ("https://x.com/login?key=planted-key-0123", "redirects to https://x.com/login (302)", "URL of the API"),
        ("https://me:planted-key-0123@new.com/x", "redirects to https://new.com/x (302)", "URL of the API"),
        ("", "does not say where to", "Check saas.base_url"),
        ("http://[::bad", "does not say where to", "Check saas.base_url"),
    ],
)  # fmt: skip
def test_error_names_the_target_and_the_next_step(location: str, message: str, hint: str) -> None:
    error = not_followed(Redirected(302, URL, location), ENDPOINT)
    assert message in error.message
    assert hint in error.hint
    assert "planted" not in str(error)
    assert error.details["final"] is True


@pytest.mark.parametrize(
    ("method", "status", "location", "goes"),
    [
        ("POST", 307, "/v2", True),
        ("POST", 302, "/v2", False),
        ("GET", 302, "/v2", True),
        ("HEAD", 301, "/v2", True),
        ("GET", 302, "https://e.org/v2", False),
        ("GET", 307, "http://api.x.com/v1", False),
        ("POST", 308, "//e.org/", False),
        ("GET", 302, "https://api.x.com:444/", False),
        ("GET", 302, "https://api.x.com@e.org/", False),
        ("GET", 200, "", True),
    ],
)
async def test_no_redirect_of_an_sdk_leaves_the_server(method: str, status: int, location: str, goes: bool) -> None:
    request = SimpleNamespace(method=method, url="https://api.x.com/v1")
    response = SimpleNamespace(status_code=status, request=request, headers={"location": location})
    if goes:
        await check(response)
    else:
        with pytest.raises(Redirected):
            await check(response)

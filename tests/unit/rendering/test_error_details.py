"""What is shown of an error beside its message, and what never is."""

from __future__ import annotations

from byzer_magic import errors
from byzer_magic.i18n import using
from byzer_magic.rendering import error_details
from tests.failures import chained


def test_details_have_status_and_causes_without_secrets() -> None:
    known = error_details.details(chained(), ["line token-0123456789"], ("token-0123456789",))
    assert dict(known.rows[:3]) == {"Error type": "ProviderUnavailable", "HTTP status": "503", "Retry after": "2.0 s"}
    assert [text for name, text in known.rows if name == "Caused by"] == [
        "ValueError: <b>bad</b>",
        "OSError: no route for ***",
    ]
    page = error_details.to_html(known)
    assert "<b>" not in page
    assert "&lt;b&gt;bad" in page
    assert "0123456789" not in page + error_details.to_text(known)
    with using("zh"):
        assert "显示详情" in error_details.to_html(known)


def test_details_of_a_plain_error_are_empty() -> None:
    assert not error_details.details(errors.CommandError("No.", "Do."))
    again = errors.DeployError("It said: disk full")
    again.__cause__ = OSError("disk full")
    assert error_details.causes(again) == []


def test_details_have_the_id_of_the_request_and_that_of_the_provider() -> None:
    err = errors.RateLimited("Slow.", "Wait.", id="req_1", request_id="r-2")
    assert dict(error_details.details(err).rows[1:]) == {"Request ID": "req_1", "The provider's request ID": "r-2"}


def test_causes_are_limited() -> None:
    first = errors.ByzerError("x")
    link: BaseException = first
    for number in range(20):
        link.__cause__ = ValueError(f"cause {number}")
        link = link.__cause__
    assert len(error_details.causes(first)) == error_details.LONGEST_CHAIN

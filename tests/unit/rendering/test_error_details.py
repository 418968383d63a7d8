"""What is told of an error beside its text, and what never is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from byzer_magic import errors
from byzer_magic.i18n import using
from byzer_magic.magics.errors import presented, secrets
from byzer_magic.rendering import error_details


def chained() -> errors.ByzerError:
    try:
        try:
            raise OSError("no route for token-0123456789")
        except OSError as err:
            raise ValueError("<b>bad</b>") from err
    except ValueError as err:
        try:
            raise errors.ProviderUnavailable("It is down.", "Try later.", status=503, retry_after=2.0) from err
        except errors.ByzerError as found:
            return found


def test_details_have_the_status_and_the_chain_without_secrets() -> None:
    known = error_details.details(chained(), ["line token-0123456789"], ("token-0123456789",))
    assert dict(known.rows[:3]) == {"Error": "ProviderUnavailable", "HTTP status": "503", "Retry after": "2.0 s"}
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


def test_an_error_that_has_said_all_has_no_details() -> None:
    assert not error_details.details(errors.CommandError("No.", "Do."))
    again = errors.DeployError("It said: disk full")
    again.__cause__ = OSError("disk full")
    assert error_details.causes(again) == []


def test_a_chain_that_never_ends_is_cut() -> None:
    first = errors.ByzerError("x")
    link: BaseException = first
    for number in range(20):
        link.__cause__ = ValueError(f"cause {number}")
        link = link.__cause__
    assert len(error_details.causes(first)) == error_details.LONGEST_CHAIN


def test_secrets_are_those_by_name_and_those_typed() -> None:
    found = set(
        secrets(
            "--infer_params saas.api_key=typed-in-00 saas.model=gpt-4o-mini saas.api_key=${KEY}",
            {"MY_TOKEN": "token-of-mine", "city": "Constantinople", "key": 7},
            {"OPENAI_API_KEY": "from-the-env", "PATH": "/usr/local/bin"},
        )
    )
    assert found == {"typed-in-00", "token-of-mine", "from-the-env"}


def shell(**more: Any) -> Any:
    return SimpleNamespace(user_ns={"MY_KEY": "abcdefgh-secret"}, **more)


MANAGER = SimpleNamespace(failed_log=lambda alias: [f"log of {alias}"], runs=lambda alias: False)


def test_an_error_shows_itself_and_its_details_the_second_time() -> None:
    err = presented(chained(), shell(), MANAGER, "stat")
    assert err._render_traceback_() == ["It is down.", "Try later.", "Details: %tb"]  # type: ignore[attr-defined]
    assert "  HTTP status: 503" in err._render_traceback_()  # type: ignore[attr-defined]


def test_the_text_of_an_error_loses_the_notebooks_secrets() -> None:
    err = presented(errors.ConfigError("No such abcdefgh-secret.", ""), shell(), MANAGER, "stat")
    assert str(err) == "No such ***."
    assert "abcdefgh" not in repr(err.args)


def test_a_failed_deploy_brings_its_log() -> None:
    err = presented(errors.EngineFailed("No."), shell(), MANAGER, "deploy --model odd --x y")
    err._render_traceback_()  # type: ignore[attr-defined]
    assert "    log of odd" in err._render_traceback_()  # type: ignore[attr-defined]

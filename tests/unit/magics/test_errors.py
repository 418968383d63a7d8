"""Errors of magics as one clean block."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from byzer_magic import errors
from byzer_magic.magics.errors import presented
from tests.failures import chained


def shell(**more: Any) -> Any:
    return SimpleNamespace(user_ns={"MY_KEY": "abcdefgh-secret"}, **more)


MANAGER = SimpleNamespace(failed_log=lambda alias: [f"log of {alias}"], runs=lambda alias: False)


def test_presented_error_shows_its_details_the_second_time() -> None:
    err = presented(chained(), shell(), MANAGER, "stat")
    assert err._render_traceback_() == ["It is down.", "Try later.", "Details: %tb"]  # type: ignore[attr-defined]
    assert "  HTTP status: 503" in err._render_traceback_()  # type: ignore[attr-defined]


def test_presented_error_has_no_secrets_of_the_notebook() -> None:
    err = presented(errors.ConfigError("No such abcdefgh-secret.", ""), shell(), MANAGER, "stat")
    assert str(err) == "No such ***."
    assert "abcdefgh" not in repr(err.args)


def test_presented_error_of_a_deploy_has_its_log() -> None:
    err = presented(errors.EngineFailed("No."), shell(), MANAGER, "deploy --model odd --x y")
    err._render_traceback_()  # type: ignore[attr-defined]
    assert "    log of odd" in err._render_traceback_()  # type: ignore[attr-defined]

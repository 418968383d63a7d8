"""jupyter-ai's magics, in an IPython shell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from given import CHATS, KEY, NO_MODEL, URL, V1, WRONG_KEY, documented
from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    """A shell with the magics, and an alias of theirs for each of ours."""
    shell = InteractiveShell.instance()
    shell.run_cell(documented("%load_ext jupyter_ai"), silent=True).raise_error()
    for model in (*CHATS, NO_MODEL):
        shell.run_line_magic("ai", f"alias {model} openai/{model} --api-base {V1}")
    shell.run_line_magic("ai", f"alias messages anthropic/claude --api-base {URL}")
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


def asked(shell: InteractiveShell, model: str, text: str) -> Any:
    return shell.run_cell_magic("ai", f"{model} -f text", text)


@pytest.mark.parametrize("model", [*CHATS, "messages", "gpt4o"])
def test_answers_and_remembers(shell: InteractiveShell, model: str) -> None:
    assert str(asked(shell, model, "hello big world")) == "Echo: hello big world"
    assert str(asked(shell, model, "and again")) == "Echo: and again"


@pytest.mark.parametrize("model", [*CHATS, "messages"])
def test_errors(
    shell: InteractiveShell, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, WRONG_KEY)
    assert "AuthenticationError" in asked(shell, model, "hi")


def test_unknown_model(shell: InteractiveShell) -> None:
    assert "NotFoundError" in asked(shell, NO_MODEL, "hi")

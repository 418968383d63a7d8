"""The help for a place in a cell, as Shift-Tab asks for it."""

from __future__ import annotations

import pytest

from byzer_magic.i18n import using
from byzer_magic.magics.tooltip import WIDTH, help_at


def at(marked: str) -> str | None:
    """Return the help where the `|` is."""
    return help_at(marked.replace("|", ""), marked.index("|"))


@pytest.mark.parametrize(
    ("marked", "begins"),
    [
        ("%byzer|", "Usage: %byzer COMMAND"),
        ("|%byzer", "Usage: %byzer COMMAND"),
        ("%byzer nonsense |", "Usage: %byzer COMMAND"),
        ("%byzer dep|loy --model x", "Deploy a SaaS model"),
        ("%byzer deploy --num_wor|", "--num_workers N  number of workers"),
        ("%byzer deploy --num_workers |", "--num_workers N"),
        ("%byzer deploy --num_workers 2 |", "Deploy a SaaS model"),
        ("%byzer deploy --replace |", "--replace  replace the deployment"),
        ("%byzer deploy \\\n  --infer_backend |", "--infer_backend TEXT"),
        ("%%byzer\nbyzerllm stat\nbyzerllm undeploy --model |", "--model TEXT"),
        ("%byzer easy deploy |", "Deploy a preset"),
        ("%%chat m --sess|", "--session TEXT"),
        ("x = 1\n%chat |", "Send a request"),
    ],
)
def test_help_at_returns_the_help_of_what_the_cursor_is_in(marked: str, begins: str) -> None:
    assert str(at(marked)).startswith(begins)


@pytest.mark.parametrize("marked", ["len(|", "", "|", "%%chat m\nhello |", "%time x|", "# %byzer|"])
def test_help_at_leaves_other_cells_alone(marked: str) -> None:
    assert at(marked if "|" in marked else "|") is None


def test_help_at_lists_the_parameters_of_a_type() -> None:
    text = at("%byzer deploy --pretrained_model_type saas/openai --infer_params saas.model=x |")
    assert "  saas.base_url=" in str(text)
    assert "  n_ctx=" in str(at("%byzer deploy --infer_backend llama_cpp --infer_params |"))


def test_help_at_fits_a_tooltip_in_both_languages() -> None:
    for marked in ("%byzer|", "%%chat|", "%byzer deploy --infer_params |"):
        assert max(map(len, str(at(marked)).split("\n"))) <= WIDTH
    with using("zh"):
        assert "用法：undeploy" in str(at("%byzer undeploy |"))

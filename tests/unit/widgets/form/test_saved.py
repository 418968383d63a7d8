"""The output that a form leaves in the notebook."""

from __future__ import annotations

from byzer_magic.i18n import LANGUAGES, using
from byzer_magic.widgets.form import (
    saved,
)


def test_output_reads_without_the_form() -> None:
    for lang in LANGUAGES:
        with using(lang):
            data = saved.output("%byzer deploy --model '<a>'", ["${K}"], "a is ready")
            text = saved.terminal("%byzer deploy")
        assert "&lt;a&gt;" in data["text/html"]
        assert data["text/plain"].startswith("%byzer deploy --model '<a>'")
        assert "${K}" in data["text/plain"]
        assert "--num_workers" in text

"""The texts of the form's script."""

from __future__ import annotations

import re

import pytest

from byzer_magic.errors import ByzerError
from byzer_magic.widgets.bundle import bundle
from byzer_magic.widgets.form import (
    choices as form_choices,
)
from byzer_magic.widgets.form.texts import script_texts


def test_script_texts_has_all_that_the_script_uses() -> None:
    used = set(re.findall(r"words\.(\w+)\b(?!\()", bundle("form/screen.js")))
    assert len(used) > 30
    assert used <= script_texts().keys()
    with pytest.raises(ByzerError):
        form_choices.find("no-such-thing")

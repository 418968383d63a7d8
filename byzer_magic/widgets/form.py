"""Deployments as forms."""

from __future__ import annotations

from byzer_magic.errors import CommandError
from byzer_magic.spec import FormSpec
from byzer_magic.widgets.context import Context


def show(context: Context, item: FormSpec) -> None:
    """Open it in the cell that is running."""
    raise CommandError("That is not built yet.", str((context, item)))

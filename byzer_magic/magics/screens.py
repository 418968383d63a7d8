"""The commands that open a screen in a cell."""

from __future__ import annotations

from typing import Any

from byzer_magic.commands.options import Spec
from byzer_magic.commands.spec import ChatViewSpec, FormSpec, PanelSpec, PlotSpec
from byzer_magic.errors import CommandError
from byzer_magic.widgets.context import Context


def show(context: Context, item: Spec) -> Any:
    """Open the screen of a command.

    Raises:
        CommandError: there is no such screen.
    """
    if isinstance(item, PanelSpec):
        from byzer_magic.widgets.panel import screen as panel_screen

        return panel_screen.show(context, item)
    if isinstance(item, PlotSpec):
        from byzer_magic.widgets import plot

        return plot.show(context, item)
    if isinstance(item, FormSpec):
        from byzer_magic.widgets.form import screen as form

        return form.show(context, item)
    if isinstance(item, ChatViewSpec):
        from byzer_magic.widgets.chat import screen as chat_view

        return chat_view.show(context, item)
    raise CommandError(f"{type(item).__name__} is not available here.")

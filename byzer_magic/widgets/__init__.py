"""Screens in a cell: panel, form, chat window, recorder, plot."""

if __name__ == "widgets":
    raise ImportError("import byzer_magic.widgets, not widgets")

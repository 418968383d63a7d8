"""What is drawn in a cell."""

if __name__ == "widgets":
    raise ImportError("import byzer_magic.widgets, not widgets")

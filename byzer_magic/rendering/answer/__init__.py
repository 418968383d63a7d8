"""Rendered answers: Markdown, formulas, code, columns side by side."""

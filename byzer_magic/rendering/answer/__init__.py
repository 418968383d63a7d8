"""Rendering of answers: Markdown, formulas, code, columns side by side."""

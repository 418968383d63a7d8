"""An answer as it is shown: Markdown, formulas, code, columns side by side."""

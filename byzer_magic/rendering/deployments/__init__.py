"""Rendered deployments: table cells, history, figures, sparklines."""

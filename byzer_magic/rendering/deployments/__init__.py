"""Rendering of deployments: table cells, history, figures, sparklines."""

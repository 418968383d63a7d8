"""Rendering: pure functions from values to HTML and text; no widgets, no state."""

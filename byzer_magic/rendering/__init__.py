"""Values to HTML and text: pure functions, no widget, no state."""

"""How modules of other packages are imported: what waits for them, and what need not wait for them."""

"""Data that ships with the package: presets, model facts and prices, each a reader beside its TOML file."""

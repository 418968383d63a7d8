"""The journal: every request with its answer, in one SQLite file per project; imports neither Ray nor screens."""

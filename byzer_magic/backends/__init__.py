"""Adapters for providers and engines: one file each in `saas` and `local`."""

if __name__ == "backends":
    raise ImportError("import byzer_magic.backends, not backends")

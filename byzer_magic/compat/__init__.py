"""byzer-llm's Python API on deployments: `import byzerllm` finds it where the package of that name is not installed."""

from byzer_magic.compat.finder import install, uninstall

__all__ = ["install", "uninstall"]

install()

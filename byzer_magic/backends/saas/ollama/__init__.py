"""Ollama by its own API."""

from byzer_magic.backends.saas.ollama.backend import BACKEND

__all__ = ["BACKEND"]

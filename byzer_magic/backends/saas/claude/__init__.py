"""Anthropic's Claude."""

from byzer_magic.backends.saas.claude.backend import BACKEND

__all__ = ["BACKEND"]

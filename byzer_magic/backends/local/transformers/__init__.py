"""Models through Hugging Face transformers."""

from byzer_magic.backends.local.transformers.backend import BACKEND

__all__ = ["BACKEND"]

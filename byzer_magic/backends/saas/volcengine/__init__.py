"""Text to speech by Volcengine."""

from byzer_magic.backends.saas.volcengine.backend import BACKEND

__all__ = ["BACKEND"]

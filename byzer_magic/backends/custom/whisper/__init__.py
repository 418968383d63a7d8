"""Speech to text with Whisper."""

from byzer_magic.backends.custom.whisper.backend import BACKEND

__all__ = ["BACKEND"]

"""Speech to text with SenseVoice through FunASR."""

from byzer_magic.backends.custom.sensevoice.backend import BACKEND

__all__ = ["BACKEND"]

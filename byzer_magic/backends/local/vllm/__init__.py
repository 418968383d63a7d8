"""Models through vLLM."""

from byzer_magic.backends.local.vllm.backend import BACKEND

__all__ = ["BACKEND"]

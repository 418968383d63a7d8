"""Models through DeepSpeed-Inference."""

from byzer_magic.backends.local.deepspeed.backend import BACKEND

__all__ = ["BACKEND"]

"""GGUF models through llama.cpp."""

from byzer_magic.backends.local.llama_cpp.backend import BACKEND

__all__ = ["BACKEND"]

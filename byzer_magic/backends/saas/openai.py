"""OpenAI, and every provider or server with its chat completions API (`saas.base_url`)."""

from __future__ import annotations

from byzer_magic.backends.openai.backend import OpenAIBackend

BACKEND = OpenAIBackend

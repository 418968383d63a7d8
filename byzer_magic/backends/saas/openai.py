"""OpenAI, and every provider or server that speaks its chat completions (`saas.base_url`)."""

from __future__ import annotations

from byzer_magic.backends.openai.backend import OpenAIBackend

BACKEND = OpenAIBackend

"""The name that older byzer-llm commands use for `saas/openai`; everything else is the same."""

from __future__ import annotations

from typing import ClassVar

from byzer_magic.backends.base import Info
from byzer_magic.backends.wires.openai_backend import OpenAIBackend, info


class OfficialOpenAIBackend(OpenAIBackend):
    info: ClassVar[Info] = info("saas/official_openai", "OpenAI and compatible APIs (older name)")


BACKEND = OfficialOpenAIBackend

"""The paths of the endpoint, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from byzer_magic.gateway import about, metrics, ollama
from byzer_magic.gateway.anthropic import messages
from byzer_magic.gateway.calls import Handle
from byzer_magic.gateway.openai import audio, chat, completions, embeddings, images, rerank
from byzer_magic.gateway.responses import create as responses
from byzer_magic.gateway.wires import ANTHROPIC, OLLAMA, OPENAI, Wire


@dataclass(frozen=True, slots=True)
class Path:
    """A row."""

    method: str
    pattern: str
    handle: Handle
    wire: Wire = OPENAI
    free: bool = False
    """Whether it needs no key."""


PATHS = (
    Path("GET", "/health", about.health, free=True),
    Path("GET", "/version", about.version, free=True),
    Path("GET", "/metrics", metrics.show),
    Path("GET", "/v1/models", about.models),
    Path("GET", "/v1/models/{model:path}", about.model),
    Path("POST", "/v1/chat/completions", chat.complete),
    Path("POST", "/v1/completions", completions.complete),
    Path("POST", "/v1/embeddings", embeddings.embed),
    Path("POST", "/v1/audio/speech", audio.speak),
    Path("POST", "/v1/audio/transcriptions", audio.transcribe),
    Path("POST", "/v1/audio/translations", audio.translate),
    Path("POST", "/v1/images/generations", images.generate),
    Path("POST", "/v1/images/edits", images.edit),
    Path("POST", "/v1/rerank", rerank.rank),
    Path("POST", "/rerank", rerank.rank),
    Path("POST", "/v1/responses", responses.create),
    Path("GET", "/v1/responses/{response}", responses.retrieve),
    Path("DELETE", "/v1/responses/{response}", responses.delete),
    Path("POST", "/v1/messages", messages.create, ANTHROPIC),
    Path("POST", "/v1/messages/count_tokens", messages.count_tokens, ANTHROPIC),
    Path("POST", "/api/chat", ollama.chat, OLLAMA),
    Path("POST", "/api/generate", ollama.generate, OLLAMA),
    Path("POST", "/api/embed", ollama.embed, OLLAMA),
    Path("GET", "/api/tags", ollama.tags, OLLAMA),
    Path("GET", "/api/version", ollama.version, OLLAMA),
)

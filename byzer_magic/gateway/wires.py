"""The wires: how each writes an error, in a response and in the middle of a stream, and where it has its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from byzer_magic.gateway.problems import Problem

encode = msgspec.json.encode
WORDS = {"context_length_exceeded": "prompt is too long"}
"""By OpenAI's `code`: the words by which clients of Anthropic's API know an error that has no code there."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The manners of one provider's API."""

    name: str
    error: Callable[[Problem, str], Any]
    """Returns the body of an error response, given the id of the request."""
    late_error: Callable[[Any], bytes]
    """Returns such a body as the last event of a stream that has begun."""
    request_id: bytes
    """The header with the id of the request."""
    ping: bytes
    """What is sent while a stream is silent, so that no proxy closes it."""


def sse(data: Any, event: str = "") -> bytes:
    r"""Return data as a server-sent event.

    Example:
        >>> sse({"a": 1}, "ping")
        b'event: ping\ndata: {"a":1}\n\n'
    """
    head = f"event: {event}\n".encode() if event else b""
    return b"%bdata: %b\n\n" % (head, encode(data))


def _openai(problem: Problem, _request_id: str) -> Any:
    about = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.code}
    return {"error": about}


def _anthropic(problem: Problem, request_id: str) -> Any:
    about: dict[str, Any] = {"type": problem.anthropic, "message": problem.message}
    words = WORDS.get(problem.code or "", "")
    if words not in problem.message:
        about["message"] = f"{words}: {problem.message}"
    if problem.details:
        about["details"] = problem.details
    return {"type": "error", "error": about, "request_id": request_id}


def _ollama(problem: Problem, _request_id: str) -> Any:
    return {"error": problem.message}


OPENAI = Wire("openai", _openai, sse, b"x-request-id", b": keep-alive\n\n")
ANTHROPIC = Wire("anthropic", _anthropic, lambda body: sse(body, "error"), b"request-id", sse({"type": "ping"}, "ping"))
OLLAMA = Wire("ollama", _ollama, lambda body: encode(body) + b"\n", b"x-request-id", b"")

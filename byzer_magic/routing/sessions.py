"""Prefix affinity: the turns of one chat go to the same worker, whose cache has the beginning of the prompt.

Consistent hashing with bounded loads (https://arxiv.org/abs/1608.01350) and SGLang's cache-aware router
(https://docs.sglang.ai/advanced_features/router.html) have the same rule: stay, unless the worker has too much more to
do than the others. A table of the latest chats does it here: unlike a hash, it gives two chats two workers, and moves
none when workers are added.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from byzer_magic.types import ChatRequest, Media, Request

BOUND = 1.25
"""A worker may have so many times the mean of the requests in flight, rounded up, before a chat leaves it."""
MOST = 20_000
"""Chats that are remembered; those that have been quiet for longest are forgotten first."""


def session_of(request: Request) -> bytes:
    """Return what all turns of a chat have in common: their beginning, up to the first message of the user.

    Returns:
        A digest; empty for requests that are no chats.

    Example:
        >>> from byzer_magic.types import Message
        >>> first = ChatRequest(messages=[Message("system", "Be brief."), Message("user", "Hi")])
        >>> later = ChatRequest(messages=[*first.messages, Message("assistant", "Hello"), Message("user", "Why?")])
        >>> session_of(first) == session_of(later)
        True
        >>> session_of(ChatRequest(messages=[Message("user", "Hi")])) == session_of(first)
        False
    """
    if not isinstance(request, ChatRequest):
        return b""
    digest = hashlib.blake2b(digest_size=16)
    for message in request.messages:
        digest.update(f"\0{message.role}\0".encode(errors="replace"))
        _add(message.content, digest.update)
        if message.role == "user":
            break
    return digest.digest()


def _add(value: Any, update: Callable[[bytes], None]) -> None:
    if isinstance(value, Media):
        update((value.digest or value.url).encode(errors="replace") or value.data)
    elif isinstance(value, dict):
        for name, item in value.items():
            update(f"\0{name}\0".encode(errors="replace"))
            _add(item, update)
    elif isinstance(value, list):
        for item in value:
            _add(item, update)
    else:
        update(b"\0" + str(value).encode(errors="replace"))


class Sessions:
    """On which worker each of the latest chats ran last.

    Example:
        >>> sessions = Sessions()
        >>> sessions.ran(b"chat", 3)
        >>> sessions.home(b"chat"), sessions.home(b"another")
        (3, None)
    """

    def __init__(self, most: int = MOST) -> None:
        self._homes: OrderedDict[bytes, int] = OrderedDict()
        self._most = most

    def home(self, session: bytes) -> int | None:
        """Return the worker that a chat ran on last; None where that is not known."""
        return self._homes.get(session)

    def ran(self, session: bytes, worker: int) -> None:
        """Note that a chat runs on a worker: it has the longest beginning of it from now on."""
        if session:
            self._homes[session] = worker
            self._homes.move_to_end(session)
            if len(self._homes) > self._most:
                self._homes.popitem(last=False)


def may_stay(busy: int, running: int, workers: int) -> bool:
    """Return whether a worker may have one more request for the sake of its cache.

    Args:
        busy: its requests in flight.
        running: those of all workers that are up.
        workers: how many are up, itself included.

    Example:
        >>> may_stay(busy=0, running=0, workers=2), may_stay(busy=1, running=1, workers=2)
        (True, True)
        >>> may_stay(busy=2, running=2, workers=2)
        False
    """
    return busy + 1 <= -(-BOUND * (running + 1) // workers)

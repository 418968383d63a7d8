"""The journal of a run: what is known is not asked, and each text that is embedded is an entry of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import msgspec

from byzer_magic.client import journaling
from byzer_magic.client.adapters import with_adapter
from byzer_magic.client.journaling import How
from byzer_magic.client.manager import Manager
from byzer_magic.client.replaying import REPLAY
from byzer_magic.errors import JournalError
from byzer_magic.journal import keys
from byzer_magic.journal.bounds import Bounds
from byzer_magic.journal.entry import COMPLETE, Entry
from byzer_magic.journal.shared import Answers, SharedJournal
from byzer_magic.journal.store import project_store
from byzer_magic.types import EmbeddingBatch, EmbedRequest, FromJournal, Request, Usage

Known = tuple[Any, FromJournal, Usage | None]
"""An embedding, where it comes from, and what it took at first."""


class Kept:
    """The journal, for the requests of one run to one model.

    Args:
        store: the journal of the project, or a tape.
        model: what identifies the model.
        adapter: the LoRA adapter that the alias names; empty for none.
        fresh: whether what is known is asked again.
    """

    def __init__(self, store: Answers, model: str, adapter: str = "", *, fresh: bool = False) -> None:
        self.store = store
        self._model = model
        self._adapter = adapter
        self._fresh = fresh

    @property
    def journal(self) -> SharedJournal:
        """Return where answers are written; no request comes so far where a tape is replayed."""
        return cast("SharedJournal", self.store)

    @property
    def how(self) -> How:
        """Return how the requests of a row go with the journal: equal ones have one answer."""
        return How(store=self.journal, sample=0, fresh=self._fresh, once=True, later=True)

    def key(self, request: Request) -> str:
        """Return the key of the answer to a request."""
        request = with_adapter(request, self._adapter) if self._adapter else request
        return self.key_as_sent(request)

    def key_as_sent(self, request: Request) -> str:
        """Return the key of the answer to a request that has its adapter."""
        return self.key_of_canonical(keys.canonical(request))

    def key_of_canonical(self, request: bytes) -> str:
        """Return the key of the answer to a request that `keys.canonical` has written."""
        return keys.key_of(self._model, request)

    def known(self, requests: Sequence[Request]) -> list[bool]:
        """Return for each request whether its answer is known."""
        if self._fresh:
            return [False] * len(requests)
        found = [self.key(request) for request in requests]
        known = self.store.has(found)
        return [key in known for key in found]

    # ---- embeddings: several texts in a request

    async def embeddings(self, texts: Sequence[str], options: dict[str, Any]) -> dict[str, Known]:
        """Return those of some texts whose embedding is known."""
        if self._fresh:
            return {}
        key_of = self._key_of(texts, options)
        found = await self.store.look(list(key_of.values()))
        return {text: _embedding(found[key]) for text, key in key_of.items() if key in found}

    @contextlib.asynccontextmanager
    async def alone(self, texts: Sequence[str], options: dict[str, Any]) -> AsyncIterator[list[str]]:
        """Hold those of some texts that no other process asks about, as `Locks.held`; a tape is not asked about."""
        if self._fresh or not isinstance(self.store, SharedJournal):
            yield [*texts]
            return
        text_of = {key: text for text, key in self._key_of(texts, options).items()}
        async with self.store.locks.held([*text_of]) as mine:
            yield [text_of[key] for key in mine]

    def _key_of(self, texts: Sequence[str], options: dict[str, Any]) -> dict[str, str]:
        return {text: self.key(EmbedRequest(texts=[text], options=options)) for text in texts}

    @property
    def by_text(self) -> How:
        """Return how a request for several embeddings is kept: text by text. What is known is not in the request."""
        return How(store=cast("SharedJournal", _ByText(self)), sample=0, read=False)


class _ByText:
    """Takes the entry of a request for several embeddings as entries of one text each."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def add_here(self, entry: Entry, attached: Sequence[bytes] = (), *, may_wait: bool = False) -> asyncio.Future[int]:
        """Write the entries, as `add`; the future belongs to the running event loop."""
        del may_wait  # its request waits for them
        return asyncio.wrap_future(self.add(entry, attached))

    def add(self, entry: Entry, attached: Sequence[bytes] = ()) -> Future[int]:
        """Write the entries; the future is that of the last one, and they are committed in their order."""
        if entry.status != COMPLETE:
            return self._kept.journal.add(entry, attached)
        request = msgspec.json.decode(entry.request)
        batches = [item for _seconds, item in entry.pieces if isinstance(item, EmbeddingBatch)]
        size = 4 * batches[0].dimensions if batches else 0
        data = b"".join(batch.data for batch in batches)
        texts: list[str] = request["embed"]
        is_of_model = entry.key == self._kept.key_of_canonical(entry.request.encode())  # it may have been updated
        if not is_of_model or not size or len(data) != size * len(texts):  # not what was asked for, and so not known
            return self._kept.journal.add(msgspec.structs.replace(entry, key=""), attached)
        done: Future[int] | None = None
        for index, text in enumerate(texts):
            alone = EmbedRequest(texts=[text], options=request.get("options", {}))
            batch = EmbeddingBatch(0, size // 4, data[index * size : (index + 1) * size])
            usage = _share(entry.usage, len(texts), index)
            sent = keys.canonical(alone)
            part = msgspec.structs.replace(
                entry, key=self._kept.key_as_sent(alone), asked=keys.key_of(f"alias {entry.alias}", sent),
                request=sent.decode(), prompt=text, usage=usage,
                pieces=[(entry.total, msgspec.structs.replace(batch, usage=usage))],
            )  # fmt: skip
            done = self._kept.journal.add(part)
        return done or self._kept.journal.add(entry, attached)


def _share(usage: Usage | None, count: int, index: int) -> Usage | None:
    """Return the part of a request's usage that is one text's; the parts add up to it."""
    if usage is None:
        return None
    tokens = usage.prompt_tokens // count + (index < usage.prompt_tokens % count)
    return Usage(tokens, 0, None if usage.cost is None else usage.cost / count, usage.currency)


def _embedding(entry: Entry) -> Known:
    import numpy as np

    data = b"".join(item.data for _seconds, item in entry.pieces if isinstance(item, EmbeddingBatch))
    return np.frombuffer(data, "<f4"), FromJournal(entry.id, entry.at), entry.usage


async def kept_for(manager: Manager, alias: str, *, fresh: bool, folder: str = "") -> Kept | None:
    """Return the project's journal for a model, or the tape that is replayed; None where it cannot be used.

    Args:
        manager: connects to the deployment.
        alias: the deployment.
        fresh: whether what is known is asked again.
        folder: the project folder; empty for that of this process.
    """
    alias, adapter = await manager.named(alias)
    if (connection := REPLAY.connection(manager.settings)) is not None:  # its requests are found by their alias
        return Kept(connection.tape, f"alias {alias}", adapter)
    identity = await manager.identity(alias)
    if identity is None:
        return None
    try:
        store = _store(manager, folder)
    except JournalError as err:
        journaling.JOURNAL.problem(manager, err)
        return None
    return Kept(store, identity.digest, adapter, fresh=fresh)


def _store(manager: Manager, folder: str) -> SharedJournal:
    if not folder:
        return journaling.JOURNAL.shared(manager.settings)
    settings = manager.settings
    return project_store(Bounds(megabytes=settings.journal_mb, days=settings.journal_days), Path(folder))

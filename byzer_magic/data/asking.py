"""What a row is asked: a request of the model's capability made of its cells, and the value in the response."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from byzer_magic import media
from byzer_magic.capabilities import Capability
from byzer_magic.client import arguments, journaling, structured
from byzer_magic.client.converse import Exchange
from byzer_magic.client.embedding import CHARACTERS_AT_ONCE
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import to_messages
from byzer_magic.client.typed import Typed
from byzer_magic.data import columns, schema
from byzer_magic.data.kept import Kept
from byzer_magic.data.rows import Row
from byzer_magic.data.schema import Shape
from byzer_magic.data.template import NotAskable, Template, written
from byzer_magic.errors import BadRequest, ByzerError, CommandError, ContentRefused, ContextTooLong, JournalError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import ChatResult, EmbedResult, Result
from byzer_magic.types import (
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Media,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

TEXTS_AT_ONCE = 64
"""Texts that are embedded by one request."""

Note = Callable[[Result], object]
"""Called with each response, whose cost and tokens count also where its value cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about each row."""

    capability: Capability
    template: Template
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the requests."""
    system: str | None = None
    timeout: float | None = None
    typed: Typed[Any] | None = None
    media: dict[str, str] = field(default_factory=dict)
    """The columns of images, audio and documents, by the argument that names them."""
    documents: tuple[str, ...] | None = None
    """The documents to rank, where they are the same for all rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns that it needs, those of the prompt first."""
        return (*self.template.names, *self.media.values())

    def cell(self, row: Row, name: str) -> Any:
        """Return the cell of the column that an argument names; None where it names none.

        Raises:
            NotAskable: it is missing.
        """
        if name not in self.media:
            return None
        found = row[len(self.template.names) + list(self.media).index(name)]
        if (isinstance(found, str) and not found.strip()) or arguments.is_missing(found):
            raise NotAskable(_("The cell in column {name} is missing.", name=self.media[name]))
        return found

    def text(self, row: Row) -> str:
        """Return the prompt for a row.

        Raises:
            NotAskable: it is empty, or lacks a cell.
        """
        found = self.template.fill(row)
        if not found.strip():
            raise NotAskable(_("The prompt is empty."))
        return found


class Asker(ABC):
    """Asks a model about rows; how many of them go into one request is `at_once`."""

    at_once = 1

    def __init__(self, manager: Manager, alias: str, question: Question, note: Note, kept: Kept | None = None) -> None:
        self.question = question
        self.note = note
        self.kept = kept
        self._manager = manager
        self._alias = alias

    @abstractmethod
    def request(self, row: Row) -> Request:
        """Return the request for a row.

        Raises:
            NotAskable: a cell is missing, or is not what it should be.
        """

    def forms(self, request: Request) -> tuple[Request, ...]:
        """Return the forms in which a request may have been sent, one of which the journal may know."""
        return (request,)

    @abstractmethod
    def value(self, result: Any) -> Any:
        """Return the value in a complete response."""

    async def ask(self, rows: Sequence[Row]) -> list[Any]:
        """Return the values of rows: for each its value, or the error in its place.

        Raises:
            ByzerError: there is no response, for a reason that may be that of all of these rows.
        """
        [row] = rows
        return [self.value(await self.run(await self.made(row)))]

    async def made(self, row: Row) -> Request:
        """Return the request for a row; media is read by a thread, since it may be large, or far away."""
        return await asyncio.to_thread(self.request, row) if self.question.media else self.request(row)

    async def run(self, request: Request) -> Result:
        """Return the response to a request."""
        exchange = Exchange(self._manager, self._alias, request)
        try:
            result = await exchange.run()
        except ByzerError as err:
            if (partial := getattr(err, "partial", None)) is not None and partial.usage:
                self.note(partial)
            raise
        self.note(result)
        return result


class Chat(Asker):
    """Asks for texts."""

    def request(self, row: Row) -> ChatRequest:
        """Return the prompt with the row's images and audio."""
        question = self.question
        attached = [_media(media.image, item) for item in arguments.several(question.cell(row, "image"), "image")]
        audio = question.cell(row, "audio")
        attached += [] if audio is None else [_media(media.audio, audio)]
        messages = to_messages(question.text(row), question.system, attached)
        return ChatRequest(messages=messages, options=question.options, stream=False, timeout=question.timeout)

    def value(self, result: ChatResult) -> Any:
        """Return the text."""
        return result.text


class TypedChat(Chat):
    """Asks for values of a type."""

    async def ask(self, rows: Sequence[Row]) -> list[Any]:
        """Return the value of the type, asked for again once where the response is not valid."""
        [row] = rows
        typed = cast("Typed[Any]", self.question.typed)
        request = cast("ChatRequest", await self.made(row))
        value, _result = await structured.read(self._manager, self._alias, request, typed, note=self.note)
        return [value]

    def request(self, row: Row) -> ChatRequest:
        """Return the prompt with what the model is told about the type."""
        request = super().request(row)
        typed = cast("Typed[Any]", self.question.typed)
        turns = structured.with_text(request.messages, typed.instruction)
        return ChatRequest(messages=turns, options=request.options, stream=False, timeout=request.timeout)

    def forms(self, request: Request) -> tuple[Request, ...]:
        """Return it with the schema, and without, as a model that takes none is asked."""
        typed = cast("Typed[Any]", self.question.typed)
        return structured.with_schema(cast("ChatRequest", request), typed), request


class Embed(Asker):
    """Asks for embeddings, of several rows at a time."""

    at_once = TEXTS_AT_ONCE

    def request(self, row: Row) -> EmbedRequest:
        """Return the request for one row."""
        return self._of([self.question.text(row)])

    def value(self, result: EmbedResult) -> Any:
        """Return the embedding."""
        return result.vectors[0]

    def _of(self, texts: list[str]) -> EmbedRequest:
        return EmbedRequest(texts=texts, options=self.question.options, timeout=self.question.timeout)

    async def ask(self, rows: Sequence[Row]) -> list[Any]:
        """Return the embeddings; equal texts are sent once, and a row that is refused takes no other with it."""
        texts: list[Any] = [_or_error(self.question.text, row) for row in rows]
        wanted = list(dict.fromkeys(text for text in texts if isinstance(text, str)))
        found = await (self._embedded(wanted) if self.kept is None else self._once(wanted, self.kept))
        return [found[text] if isinstance(text, str) else text for text in texts]

    async def _once(self, texts: list[str], kept: Kept) -> dict[str, Any]:
        """Return the embeddings of texts; those that another process asks about come from the journal."""
        found = await self._known(texts, kept)
        while left := [text for text in texts if text not in found]:
            async with kept.alone(left, self.question.options) as mine:
                found |= await self._known(left, kept)  # perhaps another process has asked meanwhile
                with journaling.using(kept.by_text):
                    found |= await self._embedded([text for text in mine if text not in found])
        return found

    async def _known(self, texts: list[str], kept: Kept) -> dict[str, Any]:
        """Return the embeddings that the journal has."""
        found = {}
        for text, (vector, where, usage) in (await kept.embeddings(texts, self.question.options)).items():
            self.note(EmbedResult(model=self._alias, vectors=vector, journal=where, usage=usage))
            found[text] = vector
        return found

    async def _embedded(self, texts: list[str]) -> dict[str, Any]:
        if not texts:
            return {}
        if len(texts) > 1 and sum(map(len, texts)) > CHARACTERS_AT_ONCE:
            return await self._halves(texts)
        try:
            result = cast("EmbedResult", await self.run(self._of(texts)))
        except (BadRequest, ContentRefused, ContextTooLong) as err:
            return {texts[0]: err} if len(texts) == 1 else await self._halves(texts)
        except JournalError:  # these were not together when the tape was recorded
            if len(texts) == 1:
                raise
            return await self._halves(texts)
        return dict(zip(texts, result.vectors, strict=True))

    async def _halves(self, texts: list[str]) -> dict[str, Any]:
        half = len(texts) // 2
        return await self._embedded(texts[:half]) | await self._embedded(texts[half:])


class Transcribe(Asker):
    """Asks for transcripts."""

    def request(self, row: Row) -> TranscribeRequest:
        """Return the request for the audio of a row; the prompt goes with it."""
        question = self.question
        text = question.template.fill(row).strip()
        options = ({"prompt": text} if text else {}) | question.options
        audio = _media(media.audio, question.cell(row, "audio"))
        return TranscribeRequest(audio=audio, options=options, timeout=question.timeout)

    def value(self, result: Any) -> Any:
        """Return the text."""
        return result.text


class Speak(Asker):
    """Asks for speech."""

    def request(self, row: Row) -> SpeakRequest:
        """Return the request for a row."""
        question = self.question
        return SpeakRequest(text=question.text(row), options=question.options, timeout=question.timeout)

    def value(self, result: Any) -> Any:
        """Return the bytes of the audio file."""
        return result.data


class Image(Asker):
    """Asks for images."""

    def request(self, row: Row) -> ImageRequest:
        """Return the request for a row, with the image to edit where there is one."""
        question = self.question
        images = [_media(media.image, item) for item in arguments.several(question.cell(row, "image"), "image")]
        return ImageRequest(
            prompt=question.text(row), images=images, options=question.options, timeout=question.timeout
        )

    def value(self, result: Any) -> Any:
        """Return the bytes of the image, or its URL where the provider keeps it; several in a list."""
        found = [picture.data or picture.url for picture in result.pictures]
        return found[0] if len(found) == 1 else found


class Rerank(Asker):
    """Asks for documents by their relevance."""

    def request(self, row: Row) -> RerankRequest:
        """Return the request for the query and the documents of a row."""
        question = self.question
        documents = question.documents
        found = list(documents) if documents is not None else question.cell(row, "documents")
        texts = [written(item) for item in _listed(found)]
        return RerankRequest(
            query=question.text(row), documents=texts, options=question.options, timeout=question.timeout
        )

    def value(self, result: Any) -> Any:
        """Return the documents, the most relevant first, each with its index and score."""
        pairs = zip(result.order, result.documents, strict=True)
        return [{"index": index, "score": score, "document": text} for (index, score), text in pairs]


def _listed(value: Any) -> list[Any]:
    found = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise NotAskable(_("The documents are a {type}, not a list.", type=type(value).__name__))
    return list(found)


def _media(read: Callable[[Any], Media], cell: Any) -> Media:
    """Return a cell as an image or audio.

    Raises:
        NotAskable: it is none, or a file that is not there.
    """
    try:
        return read(cell)
    except CommandError as err:
        raise NotAskable(cast("Any", err.message)) from err


def _or_error(make: Callable[[Row], str], row: Row) -> str | NotAskable:
    try:
        return make(row)
    except NotAskable as err:
        return err


_ASKERS: dict[Capability, type[Asker]] = {
    Capability.CHAT: Chat, Capability.EMBED: Embed, Capability.TRANSCRIBE: Transcribe, Capability.SPEAK: Speak,
    Capability.IMAGE: Image, Capability.RERANK: Rerank,
}  # fmt: skip
_OUT: dict[Capability, tuple[str, Callable[[], columns.Column]]] = {
    Capability.CHAT: ("response", columns.Texts), Capability.EMBED: ("embedding", columns.Vectors),
    Capability.TRANSCRIBE: ("transcript", columns.Texts), Capability.SPEAK: ("speech", columns.Objects),
    Capability.IMAGE: ("image", columns.Objects), Capability.RERANK: ("ranking", columns.Objects),
}  # fmt: skip
"""The column of each capability where none is named, and what makes it."""


def asker_for(manager: Manager, alias: str, question: Question, note: Note, kept: Kept | None = None) -> Asker:
    """Return what asks a question.

    Args:
        manager: connects to the deployment.
        alias: the deployment.
        question: what is asked about each row.
        note: called with each response.
        kept: the journal, where one is used.
    """
    kind = TypedChat if question.typed is not None else _ASKERS[question.capability]
    return kind(manager, alias, question, note, kept)


def shape_for(question: Question, out: str | None) -> Shape:
    """Return the columns that the answers to a question fill.

    Args:
        question: what is asked about each row.
        out: the column, as named by the user.
    """
    if question.typed is not None:
        return schema.of_type(question.typed.kind, out)
    name, make = _OUT[question.capability]
    return schema.single(out or name, make)

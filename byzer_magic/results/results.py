"""What people hold after a request: whole answers, with ways to save and to show them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import msgspec

from byzer_magic.errors import CommandError
from byzer_magic.rendering.media import (
    audio as sound_view,
    base as media,
    image as picture_view,
    transcript as transcript_view,
)
from byzer_magic.results.metadata import Origin
from byzer_magic.types import ImageItem, Media, Segment, Truncation


class ChatResult(Origin, frozen=True, kw_only=True):
    """A whole answer (or, when `interrupted`, the part of it that arrived)."""

    text: str
    reasoning: str = ""
    finish: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    raw: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def output(self) -> str:
        """Return the text, under the name that byzer-llm's notebooks use."""
        return self.text

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed after the first token, or None when it cannot be known."""
        if self.usage is None or self.timings.first_token is None:
            return None
        seconds = self.timings.total - self.timings.first_token
        tokens = self.usage.completion_tokens - 1
        return tokens / seconds if tokens > 0 and seconds > 0 else None

    def save(self, path: str | Path) -> Path:
        """Write the text; return the path."""
        return _write(path, self.text.encode())

    def __str__(self) -> str:
        return self.text


class EmbedResult(Origin, frozen=True, kw_only=True, eq=False):
    """EmbeddingBatch, one row per text, in the order of the texts."""

    vectors: Any
    """A numpy array of float32, texts x dimensions."""
    truncated: Truncation | None = None
    """Which texts were too long for the model, so that only their beginning was read (where the backend tells)."""

    @property
    def output(self) -> str:
        """Return the vectors as JSON: a list of lists of numbers."""
        return json.dumps(self.vectors.tolist())

    def save(self, path: str | Path) -> Path:
        """Write the vectors as JSON, or in numpy's format when the name ends in .npy; return the path."""
        if Path(path).suffix.lower() != ".npy":
            return _write(path, self.output.encode())
        buffer = io.BytesIO()
        import numpy as np

        np.save(buffer, self.vectors)
        return _write(path, buffer.getvalue())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy as np

        return np.array(self.vectors, dtype=dtype, copy=copy) if copy is not None else np.asarray(self.vectors, dtype)

    def __len__(self) -> int:
        return len(self.vectors)

    def __str__(self) -> str:
        rows, dimensions = self.vectors.shape
        made = f"{rows} vector{'s'[: rows != 1]} of {dimensions} numbers"
        return f"{made}; {self.truncated}" if self.truncated else made

    def __repr__(self) -> str:
        return f"EmbedResult({self}, {self.model})"


class RerankResult(Origin, frozen=True, kw_only=True):
    """Documents in the order of their relevance."""

    order: list[tuple[int, float]]
    """Index in the request and score of each document, the best first."""
    documents: list[str]
    """The documents themselves, in that order."""
    truncated: Truncation | None = None
    """Which of them, by their index in the request, were too long to be read whole (where the backend tells)."""

    @property
    def output(self) -> str:
        """Return index, score and document of each as JSON."""
        rows = zip(self.order, self.documents, strict=True)
        return json.dumps(
            [{"index": index, "score": score, "document": text} for (index, score), text in rows], ensure_ascii=False
        )

    def save(self, path: str | Path) -> Path:
        """Write index, score and document of each as JSON; return the path."""
        return _write(path, self.output.encode())

    def __str__(self) -> str:
        rows = zip(self.order, self.documents, strict=True)
        return "\n".join(f"{score:.4f}  {text}" for (_, score), text in rows)


class TranscribeResult(Origin, frozen=True, kw_only=True):
    """What was said."""

    text: str
    segments: list[Segment] | None = None
    language: str | None = None
    duration: float | None = None
    """Seconds of the sound."""
    audio: Media | None = None
    """The sound itself, for the player beside the transcript."""
    raw: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def output(self) -> str:
        """Return the transcript as byzer-llm does: JSON with `text`, and what else is known."""
        found = {"text": self.text, "segments": self.segments, "language": self.language, "duration": self.duration}
        known = {name: value for name, value in found.items() if value is not None} | self.raw
        return json.dumps(msgspec.to_builtins(known), ensure_ascii=False)

    def save(self, path: str | Path) -> Path:
        """Write the text, or all that is known when the name ends in .json; return the path."""
        return _write(path, (self.output if Path(path).suffix.lower() == ".json" else self.text).encode())

    @property
    def facts(self) -> tuple[str, ...]:
        """Return what is known beside the words, for a caption."""
        return tuple(filter(None, [self.model, self.language, media.clock(self.duration) if self.duration else ""]))

    @property
    def sound(self) -> sound_view.AudioView | None:
        """Return the sound as a player shows it, where its bytes are here."""
        return sound_view.recording(self.audio, self.text) if self.audio is not None and self.audio.data else None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return transcript_view.bundle(self.text, self.segments, self.facts, self.sound)

    def __str__(self) -> str:
        return self.text


class SpeakResult(Origin, frozen=True, kw_only=True):
    """Spoken text, as the bytes of a file."""

    data: bytes
    mime: str
    text: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """What was asked for: voice, speed, ..."""

    @property
    def output(self) -> str:
        """Return the sound as byzer-llm does: base64 text."""
        return base64.b64encode(self.data).decode()

    def save(self, path: str | Path) -> Path:
        """Write the sound; return the path.

        Raises:
            CommandError: nothing of it has arrived.
        """
        if not self.data:
            raise CommandError("There is no sound to save: none has arrived.", "Send the request again.")
        return _write(path, self.data)

    @property
    def sound(self) -> sound_view.AudioView:
        """Return the sound as a player shows it."""
        name = media.file_name(self.model, self.text, self.mime)
        facts = (self.model, *media.named(self.options))
        return sound_view.AudioView(data=self.data, mime=self.mime, name=name, said=self.text, facts=facts)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return sound_view.bundle(self.sound, str(self))

    def __str__(self) -> str:
        seconds = sound_view.length(self.data, self.mime)
        known = [self.mime, media.clock(seconds) if seconds else "", media.size(len(self.data))]
        return ", ".join(filter(None, known))

    def __repr__(self) -> str:
        return f"SpeakResult({self}, {self.model})"


class ImageResult(Origin, frozen=True, kw_only=True):
    """Pictures that a model made."""

    pictures: list[ImageItem]
    prompt: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """What was asked for: size, quality, ..."""

    @property
    def data(self) -> bytes:
        """Return the bytes of the first picture."""
        return self.pictures[0].data if self.pictures else b""

    @property
    def url(self) -> str:
        """Return the address of the first picture, where the provider keeps it for a while."""
        return self.pictures[0].url if self.pictures else ""

    @property
    def output(self) -> str:
        """Return the first picture as byzer-llm does: base64 text (or its address, where there are no bytes)."""
        return base64.b64encode(self.data).decode() or self.url

    def save(self, path: str | Path) -> Path:
        """Write the picture; several get a number before the extension. Return the path of the first.

        Raises:
            CommandError: nothing has arrived, or the provider has sent an address only.
        """
        path = Path(path).expanduser()
        if not self.pictures:
            raise CommandError("There is no picture to save: none has arrived.", "Send the request again.")
        for number, picture in enumerate(self.pictures):
            if not picture.data:
                raise CommandError(f"Image {number + 1} is an address: {picture.url}", "Download it from there.")
        for number, picture in enumerate(self.pictures):
            _write(path if not number else path.with_stem(f"{path.stem}-{number + 1}"), picture.data)
        return path

    @property
    def drawings(self) -> list[picture_view.Drawing]:
        """Return the pictures as a grid shows them."""
        return [
            picture_view.Drawing(data=item.data, mime=item.mime, url=item.url, caption=item.caption)
            for item in self.pictures
        ]

    @property
    def facts(self) -> tuple[str, ...]:
        """Return what was asked for beside the prompt, for a caption."""
        return media.named(self.options)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        about = (self.prompt, self.facts, self.model, str(self))
        return picture_view.bundle(self.drawings, *about)

    def __str__(self) -> str:
        each = [item.url or f"{item.mime}, {media.size(len(item.data))}" for item in self.pictures]
        return "\n".join(each) or "no picture"

    def __repr__(self) -> str:
        return f"ImageResult({len(self.pictures)} pictures, {self.model})"


Result = ChatResult | EmbedResult | RerankResult | TranscribeResult | SpeakResult | ImageResult
"""What a request gives."""


def _write(path: str | Path, data: bytes) -> Path:
    path = Path(path).expanduser()
    try:
        path.write_bytes(data)
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        why = getattr(err, "strerror", None) or err
        raise CommandError(f"Cannot write {path}: {why}.", "The result is still in hand; choose another path.") from err
    return path

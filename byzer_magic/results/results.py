"""Results returned to the user: complete responses that can be saved and displayed.

A result is a value and knows no HTML. When Jupyter displays one, it calls `_repr_mimebundle_`, which looks up the
renderer in the table of capabilities by name: rendering is a layer above this one, knows every result class, and is
imported only when something is displayed. A program that only calls models never loads it.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import msgspec

from byzer_magic.capabilities import resolve
from byzer_magic.errors import CommandError
from byzer_magic.files.paths import expanded
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import describe, formats, stereo, wav
from byzer_magic.results.metadata import Metadata
from byzer_magic.results.pace import BURST_SECONDS
from byzer_magic.results.saving import write, write_media
from byzer_magic.types import ImageItem, Media, PromptTruncation, Segment, Truncation

RENDERER = "byzer_magic.rendering.results:bundle"
"""Renders any result, by the renderer of its capability."""


class Displayed(Metadata, frozen=True, kw_only=True):
    """A result that a notebook shows as media."""

    def _repr_mimebundle_(self, **_formats: Any) -> dict[str, str]:
        bundle: dict[str, str] = resolve(RENDERER)(self)
        return bundle


class ChatResult(Metadata, frozen=True, kw_only=True):
    """A complete chat response, or the part that had arrived when it was `interrupted`.

    Example:
        >>> result = ChatResult(model="gpt4o_chat", text="Hello!", finish="stop")
        >>> str(result), result.finish
        ('Hello!', 'stop')
    """

    text: str
    reasoning: str = ""
    finish: str | None = None
    """Why the model stopped: ``stop``, ``length``, ``tool_calls``, ..."""
    tool_calls: list[dict[str, Any]] | None = None
    """In OpenAI's form, arguments complete."""
    raw: dict[str, Any] = msgspec.field(default_factory=dict)
    """What else the provider sent: log probabilities, other choices, its own id."""

    @property
    def output(self) -> str:
        """Return the text, under the name that byzer-llm's notebooks use."""
        return self.text

    @property
    def truncated(self) -> PromptTruncation | None:
        """Return how much of the prompt was read, where the provider has silently left out a part; else None."""
        return self.usage.truncated if self.usage else None

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed after the first piece; None for a response in one piece, or without its tokens' number."""
        times = self.timings
        if self.usage is None or times.first_token is None:
            return None
        seconds = (times.last_token or times.total) - times.first_token
        count = self.usage.completion_tokens
        tokens = count - 1 if times.after_first is None else count * times.after_first
        return tokens / seconds if tokens > 0 and seconds >= BURST_SECONDS else None

    def save(self, path: str | Path) -> Path:
        """Write the text; return the path.

        Raises:
            CommandError: the file cannot be written.

        Example:
            >>> ChatResult(model="gpt4o_chat", text="Hello").save("/dev/null").name
            'null'
        """
        return write(path, self.text.encode())

    def __str__(self) -> str:
        return self.text


class EmbedResult(Metadata, frozen=True, kw_only=True, eq=False):
    """Embeddings, one row per text, in the order of the texts; numpy takes it as an array.

    Example:
        >>> import numpy as np
        >>> result = EmbedResult(model="bge", vectors=np.zeros((2, 384), dtype="float32"))
        >>> np.asarray(result).shape, str(result)
        ((2, 384), '2 embeddings, 384 dimensions')
    """

    vectors: Any
    """A numpy array of float32, shape (texts, dimensions)."""
    truncated: Truncation | None = None
    """Which texts were longer than the model's limit, where the backend reports that."""

    @property
    def output(self) -> str:
        """Return the embeddings as JSON: a list of lists of numbers."""
        return json.dumps(self.vectors.tolist())

    def save(self, path: str | Path) -> Path:
        """Write the embeddings as JSON, or in numpy's format when the name ends in .npy; return the path.

        Raises:
            CommandError: the file cannot be written.
        """
        if Path(path).suffix.lower() != ".npy":
            return write(path, self.output.encode())
        buffer = io.BytesIO()
        import numpy as np

        np.save(buffer, self.vectors)
        return write(path, buffer.getvalue())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        import numpy as np

        return np.array(self.vectors, dtype=dtype, copy=copy) if copy is not None else np.asarray(self.vectors, dtype)

    def __len__(self) -> int:
        return len(self.vectors)

    def __str__(self) -> str:
        rows, dimensions = self.vectors.shape
        text = f"{rows} embedding{'s'[: rows != 1]}, {dimensions} dimensions"
        return f"{text}; {self.truncated}" if self.truncated else text

    def __repr__(self) -> str:
        return f"EmbedResult({self}, {self.model})"


class RerankResult(Metadata, frozen=True, kw_only=True):
    """Documents in the order of their relevance.

    Example:
        >>> print(RerankResult(model="reranker", order=[(1, 0.9), (0, 0.1)], documents=["blue sky", "green grass"]))
        0.9000  blue sky
        0.1000  green grass
    """

    order: list[tuple[int, float]]
    """Index in the request and score of each document, the best first."""
    documents: list[str]
    """The documents, in that order."""
    truncated: Truncation | None = None
    """Which documents, by index in the request, were longer than the limit, where the backend reports that."""

    @property
    def output(self) -> str:
        """Return index, score and document of each as JSON."""
        rows = zip(self.order, self.documents, strict=True)
        return json.dumps(
            [{"index": index, "score": score, "document": text} for (index, score), text in rows], ensure_ascii=False
        )

    def save(self, path: str | Path) -> Path:
        """Write index, score and document of each as JSON; return the path.

        Raises:
            CommandError: the file cannot be written.
        """
        return write(path, self.output.encode())

    def __str__(self) -> str:
        rows = zip(self.order, self.documents, strict=True)
        return "\n".join(f"{score:.4f}  {text}" for (_index, score), text in rows)


class TranscribeResult(Displayed, frozen=True, kw_only=True):
    """A transcript.

    Example:
        >>> TranscribeResult(model="whisper", text="Good morning.", language="en").output
        '{"text": "Good morning.", "language": "en"}'
    """

    text: str
    segments: list[Segment] | None = None
    language: str | None = None
    duration: float | None = None
    """Seconds of the audio."""
    audio: Media | None = None
    """The audio that was transcribed, for the player beside the transcript."""
    raw: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def is_silent(self) -> bool:
        """Return whether the audio is silence, as far as is known: engines say so, and WAV files are read here."""
        return bool(self.raw.get("silent")) or (self.audio is not None and stereo.is_silent(self.audio.data))

    @property
    def output(self) -> str:
        """Return the transcript as byzer-llm does: JSON with `text`, and what else is known."""
        found = {"text": self.text, "segments": self.segments, "language": self.language, "duration": self.duration}
        known = {name: value for name, value in found.items() if value is not None} | self.raw
        return json.dumps(msgspec.to_builtins(known), ensure_ascii=False)

    def save(self, path: str | Path) -> Path:
        """Write the text, or all that is known when the name ends in .json; return the path.

        Raises:
            CommandError: the file cannot be written.
        """
        return write(path, (self.output if Path(path).suffix.lower() == ".json" else self.text).encode())

    def __str__(self) -> str:
        return self.text


class SpeakResult(Displayed, frozen=True, kw_only=True):
    """Generated speech, as the bytes of a file.

    Example:
        >>> print(SpeakResult(model="tts", data=bytes(4_000), mime="audio/mpeg", text="hi"))
        audio/mpeg, 4 kB
    """

    data: bytes
    mime: str
    """The media type, e.g. ``audio/mpeg``."""
    text: str
    """The text."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """The request's options: voice, speed, ..."""

    def __post_init__(self) -> None:
        """Tell the media type from the bytes: a backend may have told it from the request."""
        mime = formats.typed(self.data, "audio", self.mime) or self.mime
        msgspec.structs.force_setattr(self, "mime", mime)

    @property
    def output(self) -> str:
        """Return the audio as byzer-llm does: base64 text."""
        return base64.b64encode(self.data).decode()

    def save(self, path: str | Path) -> Path:
        """Write the audio; return the path, whose extension is that of the bytes.

        Raises:
            CommandError: no audio has arrived, or the file cannot be written.
        """
        if not self.data:
            raise CommandError(_("There is no audio to save: none has arrived."), _("Send the request again."))
        return write_media(path, self.data, self.mime)

    def __str__(self) -> str:
        seconds = wav.seconds(self.data, self.mime)
        known = [self.mime, describe.clock(seconds) if seconds else "", describe.size(len(self.data))]
        return ", ".join(filter(None, known))

    def __repr__(self) -> str:
        return f"SpeakResult({self}, {self.model})"


class ImageResult(Displayed, frozen=True, kw_only=True):
    """Generated images.

    Example:
        >>> image = ImageItem("image/png", bytes(4_000))
        >>> print(ImageResult(model="dalle", pictures=[image], prompt="a cat"))
        image/png, 4 kB
    """

    pictures: list[ImageItem]
    prompt: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """The request's options: size, quality, ..."""

    def __post_init__(self) -> None:
        """Tell the media types from the bytes: a backend may have told them from the request."""
        typed = [
            msgspec.structs.replace(item, mime=formats.typed(item.data, "image", item.mime) or item.mime)
            for item in self.pictures
        ]
        msgspec.structs.force_setattr(self, "pictures", typed)

    @property
    def data(self) -> bytes:
        """Return the bytes of the first image."""
        return self.pictures[0].data if self.pictures else b""

    @property
    def url(self) -> str:
        """Return the URL of the first image, where the provider stores it for a while."""
        return self.pictures[0].url if self.pictures else ""

    @property
    def output(self) -> str:
        """Return the first image as byzer-llm does: base64 text, or its URL where there are no bytes."""
        return base64.b64encode(self.data).decode() or self.url

    def save(self, path: str | Path) -> Path:
        """Write the images; return the path of the first.

        Of several, the others get a number before the extension, which is that of the bytes.

        Raises:
            CommandError: no image has arrived, one is only a URL, or the file cannot be written.
        """
        path = expanded(path)
        if not self.pictures:
            raise CommandError(_("There is no image to save: none has arrived."), _("Send the request again."))
        for number, item in enumerate(self.pictures, 1):
            if not item.data:
                raise CommandError(
                    _("Image {number} was returned as a URL only: {url}", number=number, url=item.url),
                    _("Download it from there."),
                )
        paths = [path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, len(self.pictures) + 1))]
        for number, item in enumerate(self.pictures):
            paths[number] = write_media(paths[number], item.data, item.mime)
        return paths[0]

    def __str__(self) -> str:
        each = [item.url or f"{item.mime}, {describe.size(len(item.data))}" for item in self.pictures]
        return "\n".join(each) or "no image"

    def __repr__(self) -> str:
        return f"ImageResult({len(self.pictures)} images, {self.model})"


Result = ChatResult | EmbedResult | RerankResult | TranscribeResult | SpeakResult | ImageResult
"""What a request returns."""

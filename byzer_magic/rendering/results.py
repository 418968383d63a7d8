"""Results as Jupyter shows them: a renderer per capability, named in the table of `byzer_magic.capabilities`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from byzer_magic.capabilities import resolve, row_of_result
from byzer_magic.i18n import gettext as _
from byzer_magic.log import get_logger
from byzer_magic.media import describe
from byzer_magic.rendering import footer
from byzer_magic.rendering.answer import view
from byzer_magic.rendering.answer.view import Shown
from byzer_magic.rendering.media import audio, image as images, transcript
from byzer_magic.rendering.media.audio import AudioView
from byzer_magic.rendering.media.image import ImageView
from byzer_magic.results import (
    ChatResult,
    EmbedResult,
    ImageResult,
    RerankResult,
    Result,
    SpeakResult,
    TranscribeResult,
)
from byzer_magic.safety.texts import visible, visible_bundle

LOG = get_logger("rendering")


def bundle(result: Result) -> dict[str, str]:
    """Return a result as a MIME bundle, by the renderer of its capability."""
    return or_plain(lambda: resolve(row_of_result(type(result)).renderer)(result), str(result))


def or_plain(draw: Callable[[], dict[str, str]], text: str) -> dict[str, str]:
    """Return what `draw` returns, and if it fails, a text instead: showing a result never loses it."""
    try:
        return visible_bundle(draw())
    except Exception as err:  # whatever a renderer raises, its result is shown
        LOG.warning("a result cannot be shown", exc_info=True)
        note = _(
            "It cannot be displayed as usual ({error}); _chat, or the variable that it was assigned to, has all of it.",
            error=f"{type(err).__name__}: {err}",
        )
        return {"text/plain": visible(f"{text}\n\n{note}")}


def chat(result: ChatResult) -> dict[str, str]:
    """Return a chat's response as Markdown, without a footer."""
    return view.bundle(Shown(text=result.text, reasoning=result.reasoning, tool_calls=result.tool_calls or ()))


def embed(result: EmbedResult) -> dict[str, str]:
    """Return how many embeddings there are, in the active language."""
    return {"text/plain": footer.contents(result)}


def rerank(result: RerankResult) -> dict[str, str]:
    """Return the documents in their order, a line each."""
    return {"text/plain": str(result)}


def transcribe(result: TranscribeResult) -> dict[str, str]:
    """Return a transcript, with a player where its audio is here."""
    silent = not result.text.strip() and result.is_silent
    facts = transcript_facts(result)
    return transcript.bundle(result.text, result.segments, facts, recording(result), silent=silent)


def speak(result: SpeakResult) -> dict[str, str]:
    """Return a player."""
    return audio.bundle(speech(result), str(result))


def image(result: ImageResult) -> dict[str, str]:
    """Return a grid of images."""
    return images.bundle(image_views(result), result.prompt, options(result.options), result.model, str(result))


def with_footer(result: Result) -> dict[str, str]:
    """Return a result as a MIME bundle with its footer below."""
    text = footer.line(result)
    if isinstance(result, ChatResult):
        calls = result.tool_calls or ()
        return view.bundle(Shown(text=result.text, reasoning=result.reasoning, tool_calls=calls, footer=text))
    data = bundle(result)
    plain = {"text/plain": f"{data['text/plain']}\n\n{text}"}
    if "text/html" not in data:
        return plain
    return {"text/html": data["text/html"] + footer.bundle(text)["text/html"], **plain}


def speech(result: SpeakResult) -> AudioView:
    """Return generated speech as a player shows it."""
    name = describe.file_name(result.model, result.text, result.mime)
    facts = (result.model, *options(result.options))
    return AudioView(data=result.data, mime=result.mime, name=name, transcript=result.text, facts=facts)


def recording(result: TranscribeResult) -> AudioView | None:
    """Return the audio of a transcript as a player shows it, where its bytes are here."""
    return audio.recording(result.audio, result.text) if result.audio is not None and result.audio.data else None


def transcript_facts(result: TranscribeResult) -> tuple[str, ...]:
    """Return what is known beside the words, for a caption: model, language, duration."""
    duration = describe.clock(result.duration) if result.duration else ""
    return tuple(filter(None, [result.model, result.language, duration]))


def image_views(result: ImageResult) -> list[ImageView]:
    """Return generated images as a grid shows them."""
    return [ImageView(data=item.data, mime=item.mime, url=item.url, caption=item.caption) for item in result.pictures]


def options(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the plain ones of a request's options as `name=value`, for a caption.

    Example:
        >>> options({"voice": "nova", "speed": 1.1, "seed": None})
        ('voice=nova', 'speed=1.1')
    """
    plain = {name: value for name, value in given.items() if isinstance(value, str | int | float) and value != ""}
    return tuple(f"{name}={value}" for name, value in plain.items())

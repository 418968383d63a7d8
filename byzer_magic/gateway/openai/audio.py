"""Speech, transcriptions and translations: https://developers.openai.com/api/reference/resources/audio."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from byzer_magic import media
from byzer_magic.gateway import bodies
from byzer_magic.gateway.calls import Call, Reply, Stream
from byzer_magic.gateway.openai import forms
from byzer_magic.gateway.problems import bad
from byzer_magic.gateway.wires import sse
from byzer_magic.i18n import gettext as _
from byzer_magic.media import wav
from byzer_magic.results import TranscribeResult
from byzer_magic.types import AudioChunk, Segment, SpeakRequest, TranscribeRequest

FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
WITH_TIMES = ("srt", "vtt", "verbose_json")
"""Formats that need segments."""


class Speech(msgspec.Struct):
    """The fields that the endpoint itself needs."""

    model: str
    input: str
    stream_format: str | None = None


async def speak(call: Call) -> Reply | Stream:
    """Return a text as speech: audio as it comes, or events with it.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Speech)
    if not body.input.strip():
        raise bad(_("{name} is empty.", name="input"), "input")
    request = SpeakRequest(text=body.input, options=bodies.rest(found, Speech))
    if body.stream_format == "sse":
        return Stream(_speech_events(call, body.model, request))
    pieces = call.items(body.model, request)
    first: AudioChunk | None = await anext(pieces, None)
    if first is None:
        raise bad(_("{model} returned no audio.", model=body.model))
    kind, sound = first.mime.encode("latin-1", "replace"), _sound(first, pieces)
    if b"wav" in kind:  # its header has the length
        return Reply(wav.with_length(b"".join([piece async for piece in sound])), kind)
    return Stream(sound, kind)


async def _sound(first: AudioChunk, pieces: AsyncIterator[AudioChunk]) -> AsyncIterator[bytes]:
    async with aclosing(pieces):  # type: ignore[type-var]  # a generator
        yield first.data
        async for piece in pieces:
            yield piece.data


async def _speech_events(call: Call, model: str, request: SpeakRequest) -> AsyncIterator[bytes]:
    async with aclosing(call.items(model, request)) as pieces:  # type: ignore[type-var]  # a generator
        async for piece in pieces:
            yield sse({"type": "speech.audio.delta", "audio": base64.b64encode(piece.data).decode()})
    counts = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield sse({"type": "speech.audio.done", "usage": counts})


async def transcribe(call: Call) -> Reply | Stream:
    """Return what is said in audio.

    Raises:
        Problem: the request is not valid.
    """
    return await _transcribe(call, {})


async def translate(call: Call) -> Reply | Stream:
    """Return what is said in audio, in English, where the model can translate.

    Raises:
        Problem: the request is not valid.
    """
    return await _transcribe(call, {"task": "translate"})


async def _transcribe(call: Call, more: dict[str, Any]) -> Reply | Stream:
    form = await forms.read(call)
    model, shape = form.needed("model"), form.text("response_format") or "json"
    if shape not in FORMATS:
        names = ", ".join(FORMATS)
        raise bad(
            _("response_format is {value}, which is not one of {choices}.", value=repr(shape), choices=names),
            "response_format",
        )
    [data, *_others] = form.files("file")
    options = {**form.rest("model", "response_format", "stream", "file", options=("prompt",)), **more}
    if shape in WITH_TIMES:
        options["response_format"] = "verbose_json"
    request = TranscribeRequest(audio=media.audio(data), options=options)
    if form.text("stream") == "true":
        return Stream(_transcript_events(call, model, request))
    result: TranscribeResult = await call.result(model, request)
    return _shaped(result, shape, str(more.get("task", "transcribe")))


def _shaped(result: TranscribeResult, shape: str, task: str) -> Reply:
    if shape == "text":
        return Reply(f"{result.text}\n".encode(), b"text/plain; charset=utf-8")
    if shape in ("srt", "vtt"):
        segments = result.segments or [Segment(0.0, result.duration or 0.0, result.text)]
        return Reply(subtitles(segments, shape).encode(), b"text/plain; charset=utf-8")
    if shape != "verbose_json":
        return Reply({"text": result.text})
    parts = [
        {
            "id": number, "seek": 0, "start": part.start, "end": part.end, "text": part.text, "tokens": [],
            "temperature": 0.0, "avg_logprob": 0.0, "compression_ratio": 1.0, "no_speech_prob": 0.0,
        }
        for number, part in enumerate(result.segments or ())
    ]  # fmt: skip
    about = {"task": task, "language": result.language or "", "duration": result.duration or 0.0}
    words = {"words": result.raw["words"]} if result.raw.get("words") else {}
    return Reply({**about, "text": result.text, "segments": parts, **words})


def subtitles(segments: Sequence[Segment], shape: str) -> str:
    r"""Return segments as subtitles.

    Args:
        segments: with their times.
        shape: `srt` or `vtt`.

    Example:
        >>> subtitles([Segment(0.0, 61.5, "Hello")], "srt")
        '1\n00:00:00,000 --> 00:01:01,500\nHello\n'
    """
    mark = "," if shape == "srt" else "."
    cues = [
        f"{number}\n" * (shape == "srt")
        + f"{_time(part.start, mark)} --> {_time(part.end, mark)}\n{part.text.strip()}\n"
        for number, part in enumerate(segments, 1)
    ]
    return ("WEBVTT\n\n" if shape == "vtt" else "") + "\n".join(cues)


def _time(seconds: float, mark: str) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{mark}{whole % 1000:03}"


async def _transcript_events(call: Call, model: str, request: TranscribeRequest) -> AsyncIterator[bytes]:
    text = ""
    async with aclosing(call.items(model, request)) as pieces:  # type: ignore[type-var]  # a generator
        async for piece in pieces:
            if piece.text:
                text += piece.text
                yield sse({"type": "transcript.text.delta", "delta": piece.text})
    yield sse({"type": "transcript.text.done", "text": text})

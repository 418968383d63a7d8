"""Speech to text with a SenseVoice on disk, through FunASR: Chinese, Cantonese, English, Japanese, Korean.

It recognizes emotions and events, too; they are in `raw` of the result. https://github.com/FunAudioLLM/SenseVoice
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Report, Setup
from byzer_magic.backends.custom.sensevoice import engine, files as sensevoice_files, params as sensevoice_params, tags
from byzer_magic.backends.custom.sensevoice.engine import Recognizer
from byzer_magic.backends.custom.sensevoice.files import SILERO, Detector, Folder
from byzer_magic.backends.custom.sensevoice.params import Settings
from byzer_magic.backends.custom.sensevoice.tags import TaggedSegment
from byzer_magic.backends.engine import audio, loading
from byzer_magic.backends.engine.threads import Emit, Turns
from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadRequest, MissingExtra
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models.engine_facts import MB, EngineFacts, EnginePackage, MemoryFacts, as_torch
from byzer_magic.types import Segment, TranscribeRequest, TranscriptChunk

PACKAGES = (("funasr",), ("torch",), ("kaldi_native_fbank", "torchaudio"), ("av",))
"""Import names of required packages, one of each row."""


class SenseVoiceBackend(Backend):
    """Transcribe speech with a local SenseVoice model."""

    info: ClassVar[Info] = Info(
        kind="custom/sensevoice",
        title=_("SenseVoice (speech to text)"),
        params=sensevoice_params.PARAMS,
        extra="sensevoice",
        capabilities=frozenset({Capability.TRANSCRIBE}),
        engine=EngineFacts(
            packages=(EnginePackage(module="funasr", companions=("torch",), devices=as_torch),),
            formats=("funasr",),
            auto={"funasr": 10},
            memory=MemoryFacts(overhead_bytes=800 * MB, float32_on_cpu=True, cache=False),
        ),
    )

    def __init__(self, recognizer: Recognizer, setup: Setup) -> None:
        self._recognizer = recognizer
        self._defaults = setup.params
        self._turns = Turns("SenseVoice")  # AutoModel keeps a request's settings in itself

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the folders are complete and that the parameters are consistent."""
        sensevoice_params.check(setup.params)
        folder = sensevoice_files.sensevoice(setup.model_path)
        _detector(setup, folder)
        _check_packages(setup)

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, so that the event loop stays responsive.

        Raises:
            EngineFailed: FunASR cannot load it, or the detector is neither on this machine nor on a hub.
        """
        folder = sensevoice_files.sensevoice(setup.model_path)
        try:
            detector = await _found_or_remote(setup, folder, report)
            threads = loading.prepare_environment(setup.cpus)
            report(_("importing funasr"), None)
            await asyncio.to_thread(engine.load_package)
            with loading.watched(report, _("loading {name}", name=folder.path.name), folder.size):
                recognizer = await asyncio.to_thread(engine.load, folder, detector, setup.params, threads, setup.gpus)
        except Exception as err:  # the engine's code may raise anything
            raise loading.failed("FunASR", folder.path, err) from err
        report(_("model loaded"), 1.0)
        return cls(recognizer, setup)

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._turns.close()
        del self._recognizer

    async def transcribe(self, request: TranscribeRequest) -> AsyncIterator[TranscriptChunk]:
        """Yield the transcript segment by segment; the last item has language, emotion and events.

        Closing the iterator stops the model after the current segment.

        Raises:
            BadRequest: the audio cannot be decoded, or an option is unknown or invalid.
        """
        if not request.audio.data:
            raise BadRequest(
                _("This model transcribes audio, but the request has no audio."),
                _("Send a file, bytes, or an audio widget."),
            )
        settings = sensevoice_params.asked(self._defaults, request.options)

        def work(emit: Emit, stopped: threading.Event) -> None:
            samples = audio.samples(request.audio, stopped=stopped)
            if not stopped.is_set():
                tagged = self._recognizer.segments(samples, settings, stopped)
                for chunk in _chunks(tagged, settings, len(samples) / audio.RATE, audio.silence_note(samples)):
                    emit(chunk)

        async with aclosing(self._turns.run(work)) as items:
            async for item in items:
                yield item


def _chunks(
    tagged: Iterator[TaggedSegment], settings: Settings, duration: float, note: Mapping[str, Any]
) -> Iterator[TranscriptChunk]:
    """Yield a chunk for each segment with text, and a last one with language, emotion, events, and the note."""
    known: list[TaggedSegment] = []
    before = ""
    for found in tagged:
        known.append(found)
        text = _text(found, settings.tags)
        if text:
            segment = Segment(found.start, found.end, text)
            yield TranscriptChunk(tags.joint(before, text) + text, segments=[segment], duration=duration)
            before = text
    summary = tags.summary(known)
    yield TranscriptChunk(language=summary["language"], duration=duration, extra={**summary, **note})


def _text(segment: TaggedSegment, tags: str) -> str:
    if tags == "keep":
        return segment.raw
    if tags == "emoji":
        from funasr.utils.postprocess_utils import rich_transcription_postprocess

        return str(rich_transcription_postprocess(segment.raw))
    return segment.text


def _detector(setup: Setup, folder: Folder) -> Detector | None:
    """Return the detector, if one is configured and on this machine."""
    name = setup.params.get("vad_model")
    return sensevoice_files.detector(name, folder.path) if name else None


async def _found_or_remote(setup: Setup, folder: Folder, report: Report) -> Detector | None:
    found = _detector(setup, folder)
    if found or "vad_model" not in setup.params:
        return found
    name, hub = setup.params["vad_model"], setup.params.get("hub", "")
    report(_("looking for {name} on a hub", name=name), None)
    remote = await asyncio.to_thread(sensevoice_files.remote, name, hub, folder.path)
    os.environ.setdefault("HF_HUB_OFFLINE", "0")  # before it is set to 1, as for weights that are local
    return remote


def _check_packages(setup: Setup) -> None:
    for names in PACKAGES:
        if not any(importlib.util.find_spec(name) for name in names):
            raise MissingExtra(_("custom/sensevoice needs the package {names}, which is not "
                                 "installed.", names=' / '.join(names)),
                               _("Run: pip install 'byzer-magic[sensevoice]'"))  # fmt: skip
    if setup.params.get("vad_model") in (SILERO, "silero_vad") and not importlib.util.find_spec("silero_vad"):
        raise MissingExtra(_("vad_model={silero} needs the package {silero}, which is not installed.", silero=SILERO),
                           _("Run: pip install {silero}", silero=SILERO))  # fmt: skip


BACKEND = SenseVoiceBackend

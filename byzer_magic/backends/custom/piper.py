"""Text to speech with a local Piper voice: audio without an API key, sentence by sentence.

Voices: https://huggingface.co/rhasspy/piper-voices, two files each. Parameters are piper's own
(https://github.com/OHF-Voice/piper1-gpl/blob/main/docs/API_PYTHON.md), beside OpenAI's names.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.engine import audio_encoder, loading
from byzer_magic.backends.engine.threads import Emit, Turns
from byzer_magic.backends.http.speech import audio_chunks, known_options, number, split, without_lone_surrogates
from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, suggest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models import files, installed
from byzer_magic.local_models.engine_facts import (
    CPU,
    GPU,
    MB,
    Distribution,
    EngineFacts,
    EnginePackage,
    FileFormat,
    MemoryFacts,
)
from byzer_magic.types import AudioChunk, SpeakRequest

LONGEST = 400
"""Maximum characters per synthesis, when no sentence ends earlier."""
PAUSE_SECONDS = 0.2
"""Silence after a sentence; piper leaves none."""

_OWN = {
    "voice": ("text", _("speaker, for voices with several: name or number"), ("speaker", "speaker_id")),
    "speed": ("float", _("speed: 0.25 to 4, 1 is normal"), ()),
    "length_scale": ("float", _("length scale, which is 1 / speed (default: the voice's)"), ()),
    "noise_scale": ("float", _("variation of the audio (default: the voice's)"), ()),
    "noise_w_scale": ("float", _("variation of the rhythm (default: the voice's)"), ("noise_w",)),
    "volume": ("float", _("volume: 1 is normal"), ()),
    "sentence_silence": ("float", _("seconds of silence after each sentence (default "
                                    "{pause_seconds})", pause_seconds=PAUSE_SECONDS), ()),
    "normalize_audio": ("bool", _("normalize the volume of each sentence (default true)"), ()),
    "response_format": (
        "text", _("audio format: {formats} (default wav)", formats=listed(audio_encoder.MIMES)), ("format",)
    ),
}  # fmt: skip
_KNOWN = {alias: name for name, (_, _, aliases) in _OWN.items() for alias in (name, *aliases)}
_BOUNDS = {
    "speed": (0.25, 4.0),
    "length_scale": (0.1, 10.0),
    "noise_scale": (0.0, 2.0),
    "noise_w_scale": (0.0, 2.0),
    "volume": (0.0, 10.0),
    "sentence_silence": (0.0, 10.0),
}


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice and the configuration in its .onnx.json."""

    path: Path
    config: dict[str, Any]

    @property
    def rate(self) -> int:
        """Return the samples per second."""
        return int(self.config["audio"]["sample_rate"])

    @property
    def speakers(self) -> dict[str, int]:
        """Return the speakers by name and by number."""
        numbers = {str(number): number for number in range(int(self.config["num_speakers"]))}
        return numbers | {str(name): int(number) for name, number in self.config.get("speaker_id_map", {}).items()}


VOICE = FileFormat(name="piper", pattern="*.onnx", companion=".json", title=_("a Piper voice"))


def _devices(_package: Distribution) -> tuple[str, ...]:
    """Return the devices that Piper runs on: those of the installed build of ONNX Runtime, by its name."""
    from importlib import metadata

    try:
        metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return (CPU,)
    return (CPU, GPU)


class PiperBackend(Backend):
    """Synthesize speech with a local voice."""

    info: ClassVar[Info] = Info(
        kind="custom/piper",
        title=_("Piper (text to speech)"),
        params=(
            *(Param(name=name, help=text, kind=kind, aliases=aliases) for name, (kind, text, aliases) in _OWN.items()),
            Param(
                name="device",
                help=_("device: cpu or cuda (default: a GPU when the worker has one)"),
                choices=("cpu", "cuda"),
            ),
        ),
        extra="piper",
        capabilities=frozenset({Capability.SPEAK}),
        engine=EngineFacts(
            packages=(
                EnginePackage(
                    module="piper", distributions=("piper-tts",), companions=("onnxruntime",), devices=_devices
                ),
            ),
            formats=("piper",),
            auto={"piper": 10},
            own_formats=(VOICE,),
            memory=MemoryFacts(overhead_bytes=200 * MB, float32_on_cpu=True, cache=False, gpu=False),
        ),
    )

    def __init__(self, voice: Voice, engine: Any, setup: Setup) -> None:
        self._voice = voice
        self._engine = engine
        self._defaults = {name: setup.params[name] for name in _OWN if name in setup.params}
        self._turns = Turns("Piper", max(1, setup.concurrency))

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check both files of the voice, and that it supports the parameters."""
        voice = find(setup.model_path)
        _checked({name: setup.params[name] for name in _OWN if name in setup.params}, voice, BadParameter)

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the voice in a thread, and synthesize a letter: a voice that does not work fails here.

        Raises:
            EngineFailed: piper cannot load the voice, or cannot synthesize with it.
        """
        voice = find(setup.model_path)
        threads = loading.prepare_environment(setup.cpus)
        try:
            report(_("importing piper"), None)
            await asyncio.to_thread(importlib.import_module, "piper")
            with loading.watched(report, _("loading {name}", name=voice.path.name), voice.path.stat().st_size):
                engine = await asyncio.to_thread(_loaded, voice, threads, _device(setup))
        except Exception as err:  # the engine's code may raise anything
            raise loading.failed("piper", voice.path, err) from err
        return cls(voice, engine, setup)

    async def close(self) -> None:
        """Stop the running synthesis, then free the voice."""
        await self._turns.close()
        self._engine = None

    async def speak(self, request: SpeakRequest) -> AsyncIterator[AudioChunk]:
        """Yield the text as one audio file, sentence by sentence; closing the iterator stops after a sentence.

        Raises:
            BadRequest: the text is empty, or an option is unknown or has an invalid value.
        """
        options = _checked({**self._defaults, **_asked(request.options)}, self._voice, BadRequest)
        pieces = split(without_lone_surrogates(request.text), LONGEST)
        if not pieces:
            raise BadRequest(_("The request has no text."), _("Send some text."))

        def work(emit: Emit, stopped: threading.Event) -> None:
            self._say(pieces, options, emit, stopped)

        async with aclosing(self._turns.run(work)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _say(self, pieces: list[str], options: Mapping[str, Any], emit: Emit, stopped: threading.Event) -> None:
        form = options.get("response_format", "wav")
        file = audio_encoder.writer(form, self._voice.rate)
        silence = bytes(2 * int(options.get("sentence_silence", PAUSE_SECONDS) * self._voice.rate))
        has_audio = False
        for piece in pieces:
            for sentence in self._engine.synthesize(piece, self._manner(options)):
                if stopped.is_set():
                    return
                has_audio = True
                for chunk in audio_chunks(file.add(sentence.audio_int16_bytes + silence), audio_encoder.MIMES[form]):
                    emit(chunk)
        if not has_audio:
            raise BadRequest(_("The text contains nothing that can be spoken."), _("Send text that contains words."))
        for chunk in audio_chunks(file.end(), audio_encoder.MIMES[form]):
            emit(chunk)

    def _manner(self, options: Mapping[str, Any]) -> Any:
        from piper import SynthesisConfig

        slowness = options.get("length_scale", self._engine.config.length_scale)
        return SynthesisConfig(
            speaker_id=self._voice.speakers[options["voice"]] if "voice" in options else None,
            length_scale=slowness / options.get("speed", 1.0),
            noise_scale=options.get("noise_scale"),
            noise_w_scale=options.get("noise_w_scale"),
            normalize_audio=options.get("normalize_audio", True),
            volume=options.get("volume", 1.0),
        )


def find(model_path: str | None) -> Voice:
    """Return the voice at `--model_path`: an .onnx file, or a folder with one, and the .onnx.json beside it.

    Raises:
        BadParameter: there is none, or more than one, or what belongs to it is missing.
    """
    path = files.existing(model_path)
    if path.is_dir():
        found = sorted(path.glob("*.onnx"))
        if len(found) > 1:
            names = listed(item.name for item in found[:5])
            raise BadParameter(
                _("{path} contains {count_found} voices: {names}.", path=path, count_found=len(found), names=names),
                _("Specify the path of one of them."),
            )
        if not found:
            raise BadParameter(
                _("{path} contains no Piper voice (no .onnx file).", path=path),
                _("Specify the path of the .onnx file of a voice."),
            )
        path = found[0]
    if path.suffix != ".onnx":
        raise BadParameter(
            _("{path} is not a Piper voice: its name does not end in .onnx.", path=path),
            _("Specify the .onnx file of a voice."),
        )
    about = path.with_name(f"{path.name}.json")
    if not about.is_file():
        raise BadParameter(
            _("{about} does not exist; Piper needs it next to the voice.", about=about),
            _("Download it from the source of the voice."),
        )
    config = files.read_json(about)
    missing = [
        name for name in ("audio", "espeak", "num_symbols", "num_speakers", "phoneme_id_map") if name not in config
    ]
    if missing:
        raise BadParameter(
            _("{about} does not describe a Piper voice: it lacks {missing}.", about=about, missing=listed(missing)),
            _("Download it again."),
        )
    return Voice(path, config)


def _device(setup: Setup) -> str:
    """Return the device: the one that is named, else a reserved GPU where this ONNX Runtime is for GPUs."""
    here = installed.find(PiperBackend.info.engine.packages) if PiperBackend.info.engine else ()
    usable = setup.gpus and any(GPU in package.devices for package in here)
    return str(setup.params.get("device", "cuda" if usable else "cpu"))


def _loaded(voice: Voice, threads: int, device: str) -> Any:
    """Return piper's voice, with as many threads as it may have (its own loader takes all cores)."""
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise BadParameter(
            _("device is cuda, which the installed onnxruntime cannot use."), _("Run: pip install onnxruntime-gpu")
        )
    session = onnxruntime.InferenceSession(str(voice.path), settings, providers=[provider])
    engine = PiperVoice(config=PiperConfig.from_dict(voice.config), session=session)
    list(engine.synthesize("a"))  # a generator: it works only when it is read
    return engine


def _asked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request's options under our names.

    Raises:
        BadRequest: one is unknown.
    """
    return known_options(options, _KNOWN)


def _checked(options: Mapping[str, Any], voice: Voice, refused: type[ByzerError]) -> dict[str, Any]:
    """Return the options with their values as they are used.

    Raises:
        ByzerError: a value is invalid; of the class `refused`.
    """
    found = dict(options)
    for name, (low, high) in _BOUNDS.items():
        if name in found:
            found[name] = number(name, found[name], low, high, refused, _("Meaning: {own}.", own=_OWN[name][1]))
    if "voice" in found:
        found["voice"] = _speaker(str(found["voice"]), voice, refused)
    form = found.get("response_format", "wav")
    if form not in audio_encoder.MIMES:
        raise refused(
            _("response_format is {form!r}, which is not supported.", form=form),
            _("Use one of: {MIMES}.", MIMES=listed(audio_encoder.MIMES)),
        )
    if not isinstance(found.get("normalize_audio", True), bool):
        raise refused(
            _(
                "normalize_audio is {normalize_audio!r}, which is not true or false.",
                normalize_audio=found["normalize_audio"],
            ),
            "",
        )
    return found


def _speaker(name: str, voice: Voice, refused: type[ByzerError]) -> str:
    """Return a speaker as `Voice.speakers` has it; the voice's own name is its only speaker's."""
    speakers = voice.speakers
    if name in speakers:
        return name
    if len(set(speakers.values())) == 1:
        if name in (voice.path.stem, str(voice.config.get("dataset"))):
            return next(iter(speakers))
        raise refused(
            _("The voice {stem} has a single speaker, not {name!r}.", stem=voice.path.stem, name=name),
            _("Leave voice out."),
        )
    names = [*voice.config.get("speaker_id_map", {})] or [*speakers]
    raise refused(
        _("This voice has no speaker {name!r}.", name=name),
        suggest(name, names, _("Speakers: {names}.", names=listed(names[:10]))),
    )


BACKEND = PiperBackend

"""Speech to text with a local Whisper: Hugging Face folders in transformers, CTranslate2 folders in faster-whisper.

The files decide which; `--infer_backend` is not needed. PyAV decodes audio of any format.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Report, Setup
from byzer_magic.backends.custom.whisper import params as whisper_params, torch_model, windows
from byzer_magic.backends.custom.whisper.ctranslate2_model import FasterWhisper
from byzer_magic.backends.custom.whisper.params import ENGLISH_VOCABULARY, WINDOW_SECONDS
from byzer_magic.backends.custom.whisper.torch_model import TorchWhisper
from byzer_magic.backends.engine import audio, loading
from byzer_magic.backends.engine.threads import Emit, Turns
from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, MissingExtra, suggest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models import files
from byzer_magic.local_models.engine_facts import MB, EngineFacts, EnginePackage, MemoryFacts, as_torch, on_both
from byzer_magic.local_models.files import Weights
from byzer_magic.types import TranscribeRequest, TranscriptChunk

ENGINES = {"whisper": "transformers", "ctranslate2": "faster_whisper"}
"""The package that runs a model, by its format."""
DTYPES = {
    "whisper": ("auto", "float32", "float16", "bfloat16"),
    "ctranslate2": ("auto", "default", "float32", "float16", "bfloat16", "int16", "int8", "int8_float32",
                    "int8_float16", "int8_bfloat16"),
}  # fmt: skip


class WhisperBackend(Backend):
    """Transcribe speech with a local Whisper model."""

    info: ClassVar[Info] = Info(
        kind="custom/whisper",
        title=_("Whisper (speech to text)"),
        params=whisper_params.PARAMS,
        extra="whisper",
        capabilities=frozenset({Capability.TRANSCRIBE}),
        engine=EngineFacts(
            packages=(
                EnginePackage(module="transformers", companions=("torch",), devices=as_torch),
                EnginePackage(module="faster_whisper", companions=("ctranslate2",), devices=on_both),
            ),
            formats=("whisper", "ctranslate2"),
            auto={"whisper": 10, "ctranslate2": 10},
            memory=MemoryFacts(
                overhead_bytes=800 * MB,
                float32_on_cpu=True,
                gpu_dtype="float16",
                cache=False,
                format_overhead_bytes={"ctranslate2": 220 * MB},
            ),
        ),
    )

    def __init__(self, engine: windows.Engine, setup: Setup, at_once: int) -> None:
        self._engine = engine
        self._defaults = setup.params
        self._turns = Turns("Whisper", at_once)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the files are a complete Whisper model, and that it and its engine support the parameters."""
        weights = _weights(setup)
        _check_packages(weights.format, setup.params)
        _check_loading(weights.format, setup.params)
        whisper_params.checked(setup.params, english_only=_english_only(weights))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, so that the event loop stays responsive.

        Raises:
            EngineFailed: the engine cannot load the files.
        """
        weights = _weights(setup)
        name = ENGINES[weights.format]
        threads = loading.prepare_environment(setup.cpus)
        at_once = max(1, setup.concurrency) if weights.format == "ctranslate2" else 1
        try:
            report(_("importing {name}", name=name), None)
            await asyncio.to_thread(_import, name, setup.params)
            with loading.watched(report, _("loading {name}", name=weights.path.name), weights.size):
                engine = await asyncio.to_thread(_engine, weights, setup, threads, at_once)
        except Exception as err:  # the engine's code may raise anything
            raise loading.failed(name.replace("_", "-"), weights.path, err) from err
        return cls(engine, setup, at_once)

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._turns.close()
        await asyncio.to_thread(self._engine.close)

    async def transcribe(self, request: TranscribeRequest) -> AsyncIterator[TranscriptChunk]:
        """Yield the transcript, as soon as each window of 30 s is decoded; the last item has language and duration.

        Raises:
            BadRequest: the audio cannot be decoded, or an option is unknown, invalid or not supported by the model.
        """
        if not request.audio.data:
            raise BadRequest(
                _("This model transcribes audio, but the request has no audio."),
                _("Send a file, bytes, or an audio widget."),
            )
        settings = whisper_params.asked(self._defaults, request.options, english_only=self._engine.english_only)
        _check_engine_has(settings.more, isinstance(self._engine, TorchWhisper), BadRequest)

        def work(emit: Emit, stopped: threading.Event) -> None:
            samples = audio.samples(request.audio, stopped=stopped)
            for chunk in windows.transcript(self._engine, samples, settings, stopped):
                emit(chunk)

        async with aclosing(self._turns.run(work)) as items:
            async for item in items:
                yield item


def _weights(setup: Setup) -> Weights:
    weights = files.inspect(setup.model_path)
    if weights.format not in ENGINES:
        raise BadParameter(
            _(
                "{path} is not a Whisper model: it is a {format} model ({architecture}).",
                path=weights.path,
                format=weights.format,
                architecture=weights.architecture or "unnamed",
            ),
            _(
                "Specify the folder of a Whisper model; deploy other models as custom/auto, custom/bge or "
                "custom/sensevoice."
            ),
        )
    return weights


def _check_packages(form: str, params: Mapping[str, Any]) -> None:
    needed = [ENGINES[form], "av", *(["faster_whisper"] if params["vad_filter"] else [])]
    for name in needed:
        if not importlib.util.find_spec(name):
            hint = _("Run: pip install 'byzer-magic[whisper]'")
            if name == "faster_whisper" and form == "whisper":
                hint = _("Run: pip install 'byzer-magic[whisper]', or add vad_filter=false.")
            raise MissingExtra(_("custom/whisper needs the package {name}, which is not installed.", name=name), hint)


def _check_loading(form: str, params: Mapping[str, Any]) -> None:
    """Check what `Param` cannot: the two engines support different values."""
    if params["dtype"] not in DTYPES[form]:
        known = listed(DTYPES[form])
        raise BadParameter(
            _(
                "dtype is {dtype!r}, which {engine} does not support for Whisper.",
                dtype=params["dtype"], engine=ENGINES[form],
            ),
            suggest(params["dtype"], DTYPES[form], _("Use one of: {names}.", names=known)),
        )  # fmt: skip
    if not 1 <= params["chunk_length_s"] <= WINDOW_SECONDS:
        raise BadParameter(
            _(
                "chunk_length_s is {chunk_length_s:g}, which is not in 1..{window_seconds:g}.",
                chunk_length_s=params["chunk_length_s"],
                window_seconds=WINDOW_SECONDS,
            ),
            _("Whisper processes windows of 30 s; longer audio is split into windows automatically."),
        )
    if form == "ctranslate2" and "attn_implementation" in params:
        raise BadParameter(
            _("attn_implementation applies only to Hugging Face folders, but this is a CTranslate2 folder."), ""
        )
    _check_engine_has(params, form == "whisper", BadParameter)


def _check_engine_has(settings: Mapping[str, Any], in_transformers: bool, refused: type[ByzerError]) -> None:  # noqa: FBT001
    if in_transformers and settings.get("hotwords"):
        raise refused(
            _("hotwords apply only to CTranslate2 folders, but this is a Hugging Face folder."),
            _("Use prompt instead."),
        )


def _english_only(weights: Weights) -> bool:
    """Return whether the model supports English only, according to its files."""
    if weights.format == "whisper":
        files.need_tokenizer(weights)
        path = weights.path / "generation_config.json"
        return torch_model.english_only(files.read_json(path) if path.is_file() else {}, weights.config)
    if not (weights.path / "tokenizer.json").is_file():
        raise BadParameter(_("{path} has no tokenizer.json.", path=weights.path), _("Copy it from the original model."))
    return _vocabulary(weights.path) <= ENGLISH_VOCABULARY


def _vocabulary(path: Path) -> int:
    """Return the size of the vocabulary of a CTranslate2 folder."""
    for name in ("vocabulary.json", "vocabulary.txt"):
        if (path / name).is_file():
            try:
                text = (path / name).read_text(encoding="utf-8", errors="replace")
                return len(json.loads(text)) if name.endswith("json") else text.count("\n")
            except (ValueError, TypeError, OSError) as err:
                raise BadParameter(
                    _("{path} cannot be read: {reason}.", path=path / name, reason=err), _("Download the model again.")
                ) from err
    raise BadParameter(
        _("{path} has no vocabulary.json (or .txt).", path=path), _("Convert or download the model again.")
    )


def _import(name: str, params: Mapping[str, Any]) -> None:
    """Import what takes long, and load the voice activity detector."""
    importlib.import_module("av")
    if name == "transformers":
        importlib.import_module("torch")
        importlib.import_module("transformers.models.whisper.modeling_whisper")
    if params["vad_filter"] or name == "faster_whisper":
        importlib.import_module("faster_whisper.vad").get_vad_model()


def _engine(weights: Weights, setup: Setup, threads: int, at_once: int) -> windows.Engine:
    if weights.format == "whisper":
        importlib.import_module("torch").set_num_threads(threads)
        return TorchWhisper(weights.path, setup.params, setup.gpus)
    return FasterWhisper(weights.path, setup.params, gpus=setup.gpus, threads=threads, at_once=at_once)


BACKEND = WhisperBackend

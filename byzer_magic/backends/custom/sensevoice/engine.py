"""SenseVoice through FunASR's AutoModel: loaded once, then given the audio segment by segment.

`AutoModel.generate` processes all audio before it returns, and cannot be stopped. Here its two models alternate by
their own `inference`: the detector processes a minute, then the speech segments in it are transcribed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from byzer_magic.backends.custom.sensevoice.files import SILERO, Detector, Folder
from byzer_magic.backends.custom.sensevoice.params import Settings, vad_arguments
from byzer_magic.backends.custom.sensevoice.segments import Span, batches, blocks, merged, quiet_cuts
from byzer_magic.backends.custom.sensevoice.tags import TaggedSegment
from byzer_magic.backends.engine import torch_device
from byzer_magic.backends.engine.audio import RATE
from byzer_magic.errors import EngineFailed, MissingExtra
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _, listed

BLOCK_SECONDS = 60
"""Audio per call of the detector; fsmn-vad's own `chunk_size`, so that it finds the same as in `generate`."""
SILERO_SECONDS = 300
"""The same for Silero, which keeps no state between blocks."""
SHORTEST_SECONDS = 0.2
"""FunASR computes no features for less."""


@contextlib.contextmanager
def captured_stdout() -> Iterator[Callable[[], str]]:
    """Return a function that returns what FunASR has printed, which goes to stderr; undo its logging setup."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    output = _Copied()
    try:
        with contextlib.redirect_stdout(output):
            yield output.getvalue
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


class _Copied(io.StringIO):
    """Keeps what is printed, and forwards it to stderr."""

    def write(self, text: str) -> int:
        sys.stderr.write(text)
        return super().write(text)


def load_package() -> None:
    """Import what takes long.

    Raises:
        MissingExtra: a part of FunASR could not be imported, which it would report much later.
    """
    with captured_stdout():
        import funasr
        from funasr.auto import auto_model  # noqa: F401
        from funasr.register import tables

    needed = {"SenseVoiceSmall": tables.model_classes, "WavFrontend": tables.frontend_classes}
    if missing := [name for name, known in needed.items() if name not in known]:
        faults: dict[str, str] = getattr(funasr, "get_import_errors", dict)()
        why = next((text for name, text in faults.items() if "sense_voice" in name or "frontend" in name), "")
        raise MissingExtra(_("FunASR could not import {missing}: "
                             "{why}.", missing=listed(missing), why=why or _("no reason given")),
                           _("Run: pip install 'byzer-magic[sensevoice]'"))  # fmt: skip


def load(folder: Folder, detector: Detector | None, params: Mapping[str, Any], threads: int, gpus: float) -> Recognizer:
    """Return the model with its detector.

    Raises:
        EngineFailed: the weights belong to another model, or the detector could not be downloaded.
        BadParameter: the device is not available.
    """
    from funasr import AutoModel

    more: dict[str, Any] = {}
    if detector:
        own = {"ignore_init_mismatch": False, **detector.arguments, **vad_arguments(params)}
        if "device" in own:
            own["device"] = torch_device.usable(own["device"])
        more = {"vad_model": detector.name, "vad_kwargs": own}
    trusted = params["trust_remote_code"]
    code = paths.expanded(params.get("remote_code", folder.path / "model.py"))
    if trusted and code.is_file():
        more["remote_code"] = str(code)
    with captured_stdout() as output:
        try:
            model = AutoModel(
                model=str(folder.path),
                device=torch_device.of_worker(params.get("device"), gpus),
                ncpu=params.get("ncpu", threads),
                trust_remote_code=trusted,
                ignore_init_mismatch=False,
                disable_update=True,
                disable_pbar=True,
                disable_log=True,
                log_level="WARNING",
                **more,
            )
        except Exception as err:  # a model folder may bring code of its own, which raises anything
            raise _explained(output(), err) from err
    if "remote_code" in more and (found := _CODE.search(output())):
        raise EngineFailed(
            _("The model's own code cannot be loaded: {found}.", found=found[1][:300]), _("Check remote_code.")
        )
    _check_complete(output(), model)
    return Recognizer(model, params)


_FETCH = re.compile(r"^Download: (.+) failed!: (.+)", re.MULTILINE)
_MISSING = re.compile(r"^Warning, miss key in ckpt: ([^,]+), (.+)$", re.MULTILINE)
_CODE = re.compile(r"^Loading remote code failed: (.+)$", re.MULTILINE)


def _explained(output: str, err: Exception) -> Exception:
    """Return the error that FunASR printed instead of raising it, or the one it raised."""
    if found := _FETCH.search(output):
        return EngineFailed(
            _("FunASR could not download {found}: {found2}.", found=found[1], found2=found[2][:300]),
            _(
                "Download it on another machine and set vad_model to its folder, or use vad_model={silero}.",
                silero=SILERO,
            ),
        )
    return err


def _check_complete(output: str, model: Any) -> None:
    """Refuse a model with missing weights: FunASR only prints that, and continues with random ones."""
    missing = _MISSING.findall(output)
    if missing:
        models = (model.model, model.vad_model)
        total = sum(len(found.state_dict()) for found in models if found is not None)
        names = listed(name for name, _ in missing[:3])
        raise EngineFailed(
            _(
                "{missing} lacks {count_missing} of {total} weights ({names}, ...): it belongs to another model.",
                missing=missing[0][1],
                count_missing=len(missing),
                total=total,
                names=names,
            ),
            _("Download the model again."),
        )


class Recognizer:
    """A loaded model; it transcribes one request at a time."""

    def __init__(self, model: Any, params: Mapping[str, Any]) -> None:
        self._model = model
        self._params = params
        on_cpu = model.kwargs["device"] == "cpu"
        self._batch_seconds = (
            0 if on_cpu else params["batch_size_s"]
        )  # on a CPU, padding costs more than batching saves

    def segments(self, samples: Any, settings: Settings, stopped: threading.Event) -> Iterator[TaggedSegment]:
        """Yield the speech segments in order, until the event is set; `samples` is float32 (n,) at 16 kHz."""
        spans = self._spans(_padded(samples), stopped)
        if self._params["merge_vad"]:
            spans = merged(spans, round(self._params["merge_length_s"] * 1000))
        for group in batches(spans, self._batch_seconds * 1000):
            if stopped.is_set():
                return
            clips = [_padded(samples[start * RATE // 1000 : end * RATE // 1000]) for start, end in group]
            yield from map(_piece, group, self.recognize(clips, settings))

    def recognize(self, clips: list[Any], settings: Settings) -> list[str]:
        """Return the model's output for each short clip, in one batch; clips are float32 (n,) at 16 kHz."""
        wishes = {"ban_emo_unk": True} if self._params["ban_emo_unk"] else {}
        found = self._model.inference(
            clips, batch_size=len(clips), language=settings.language, use_itn=settings.use_itn, **wishes
        )
        return [str(result["text"]) for result in found]

    def _spans(self, samples: Any, stopped: threading.Event) -> Iterator[Span]:
        if self._model.vad_model is None:
            return quiet_cuts(samples)
        if hasattr(self._model.vad_model, "init_cache"):
            return self._streamed(samples, stopped)
        return self._block_wise(samples, stopped)

    def _streamed(self, samples: Any, stopped: threading.Event) -> Iterator[Span]:
        """Yield what fsmn-vad finds; it remembers what went before in a cache."""
        cache: dict[str, Any] = {}
        for start, end in blocks(len(samples), BLOCK_SECONDS * RATE):
            if stopped.is_set():
                return
            yield from self._detected(
                samples[start:end],
                cache=cache,
                is_streaming_input=False,
                is_final=end == len(samples),
                # the last block may be a little longer, and must not be split
                chunk_size=1000 * max(BLOCK_SECONDS, -(-(end - start + 1) // RATE)),
            )

    def _block_wise(self, samples: Any, stopped: threading.Event) -> Iterator[Span]:
        """Yield the segments of each block; speech that reaches the end of a block is repeated in the next one."""
        start, size = 0, SILERO_SECONDS * RATE
        while start < len(samples) and not stopped.is_set():
            end = min(start + size, len(samples))
            found = self._detected(samples[start:end])
            following = end
            if found and end < len(samples) and found[-1][0] > 0 and found[-1][1] * RATE // 1000 > end - start - RATE:
                following = start + found.pop()[0] * RATE // 1000
            for first, last in found:
                yield first + start * 1000 // RATE, last + start * 1000 // RATE
            start = following

    def _detected(self, samples: Any, **more: Any) -> list[Span]:
        model = self._model
        settings = dict(model.vad_kwargs)  # `inference` stores its arguments in there
        [found] = model.inference(samples, model=model.vad_model, kwargs=settings, **more)
        return [(int(start), int(end)) for start, end in found["value"]]


def _piece(span: Span, raw: str) -> TaggedSegment:
    return TaggedSegment(span[0] / 1000, span[1] / 1000, raw.strip())


def _padded(samples: Any) -> Any:
    import numpy as np

    missing = int(SHORTEST_SECONDS * RATE) - len(samples)
    return np.pad(samples, (0, missing)) if missing > 0 else samples

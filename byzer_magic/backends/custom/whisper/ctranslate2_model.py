"""Whisper in CTranslate2, through faster-whisper: https://github.com/SYSTRAN/faster-whisper."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from byzer_magic.backends.custom.whisper.params import WINDOW_SECONDS, Settings
from byzer_magic.backends.custom.whisper.windows import DecodedSegment, Stopped, Word
from byzer_magic.backends.engine.audio import RATE

BEAMS = 5
"""Beam size of faster-whisper's search."""


class FasterWhisper:
    """A loaded CTranslate2 model."""

    def __init__(self, path: Path, params: Mapping[str, Any], *, gpus: float, threads: int, at_once: int) -> None:
        from faster_whisper import WhisperModel

        device, _, index = (params.get("device") or ("cuda" if gpus else "cpu")).partition(":")
        dtype = params["dtype"]
        self._model: Any = WhisperModel(
            str(path),
            device=device,
            device_index=int(index or 0),
            compute_type="default" if dtype == "auto" else dtype,
            cpu_threads=threads,
            num_workers=at_once,
            local_files_only=True,
        )
        self._stop = threading.local()
        self._model.model = _Stoppable(self._model.model, self._stop)
        self._seconds = int(min(params["chunk_length_s"], WINDOW_SECONDS))
        self.english_only = not self._model.model.is_multilingual

    def close(self) -> None:
        """Free the memory."""
        self._model.model.unload_model()

    def language(self, samples: Any, settings: Settings) -> str:
        """Return the code of the language spoken in the first window."""
        if self.english_only:
            return "en"
        code: str = self._model.detect_language(samples[: int(WINDOW_SECONDS * RATE)])[0]
        return code

    def segments(self, samples: Any, settings: Settings, stopped: threading.Event) -> Iterator[DecodedSegment]:
        """Yield the segments; faster-whisper decodes a window when its first segment is requested."""
        self._stop.event = stopped
        segments, _ = self._model.transcribe(
            samples,
            language=settings.language,
            task=settings.task,
            initial_prompt=settings.prompt or None,
            temperature=list(settings.temperatures),
            beam_size=settings.num_beams or BEAMS,
            no_speech_threshold=settings.no_speech_threshold,
            log_prob_threshold=settings.logprob_threshold,
            compression_ratio_threshold=settings.compression_ratio_threshold,
            condition_on_previous_text=settings.condition_on_previous_text,
            word_timestamps=settings.word_timestamps,
            chunk_length=self._seconds,
            **settings.more,
        )
        try:
            for segment in segments:
                words = tuple(Word(word.start, word.end, word.word) for word in segment.words or ())
                yield DecodedSegment(segment.start, segment.end, segment.text, words)
        except Stopped:
            return


class _Stoppable:
    """CTranslate2's model, which raises before it decodes a window when the request of its thread was cancelled."""

    def __init__(self, model: Any, stop: threading.local) -> None:
        self._model = model
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Decode a window once.

        Raises:
            Stopped: the request was cancelled.
        """
        if self._stop.event.is_set():
            raise Stopped
        return self._model.generate(*args, **kwargs)

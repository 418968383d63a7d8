"""Whisper in transformers: one window after the other, each stoppable between two tokens.

Not through transformers' pipeline or its long-form generation: the former requires ffmpeg and guesses at where chunks
meet, the latter returns nothing before all audio is processed. What decodes a window is transformers' `generate`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.backends.custom.whisper import word_timestamps
from byzer_magic.backends.custom.whisper.params import ENGLISH_VOCABULARY, LANGUAGES, WINDOW_SECONDS, Settings
from byzer_magic.backends.custom.whisper.windows import (
    SHORTEST_SECONDS,
    DecodedSegment,
    Part,
    Stopped,
    repetitive,
    split,
)
from byzer_magic.backends.engine import torch_device
from byzer_magic.backends.engine.audio import RATE
from byzer_magic.errors import BadRequest, EngineFailed
from byzer_magic.i18n import lazy_gettext as _, listed

UNSURE_TEMPERATURE = 0.5
"""Above this temperature, a result is not used as context for the next window."""


def english_only(generation: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Return whether a folder's generation_config.json, or else its vocabulary, is English-only."""
    many = generation.get("is_multilingual", config.get("vocab_size", 0) > ENGLISH_VOCABULARY)
    return not many


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Numbers of the tokens that steer the model."""

    start: int
    previous: int
    no_speech: int
    begin: int
    """The timestamp 0.00; all above it are timestamps, too."""
    end: int
    tasks: Mapping[str, int]
    languages: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Found:
    """What one attempt at a window gave."""

    tokens: list[int]
    text: str
    logprob: float
    """The average of its tokens."""
    temperature: float


class TorchWhisper:
    """A model that transformers has loaded."""

    def __init__(self, path: Path, params: Mapping[str, Any], gpus: float = 0) -> None:
        import torch
        from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = torch.device(torch_device.of_worker(params.get("device"), gpus))
        model, report = WhisperForConditionalGeneration.from_pretrained(
            str(path),
            dtype=_dtype(params["dtype"], device),
            device_map={"": device},
            attn_implementation=params.get("attn_implementation"),
            local_files_only=True,
            output_loading_info=True,
        )
        if missing := sorted(set(report["missing_keys"]) - {"proj_out.weight"}):
            raise EngineFailed(
                _("{path} lacks weights: {missing} ...", path=path, missing=listed(missing[:3])),
                _("Download the model again."),
            )
        processor = WhisperProcessor.from_pretrained(str(path), local_files_only=True)
        self._torch = torch
        self._model: Any = model.eval()
        self._tokenizer = processor.tokenizer
        self._extractor = processor.feature_extractor
        self._window = min(float(params["chunk_length_s"]), WINDOW_SECONDS)
        self._facts = model.generation_config
        self._heads = getattr(self._facts, "alignment_heads", None)
        self.english_only = english_only(self._facts.to_dict(), model.config.to_dict())
        self._tokens = self._numbers()
        self._facts.no_timestamps_token_id = self._tokens.begin - 1
        self._facts.eos_token_id = self._tokens.end
        model.generation_config = GenerationConfig(  # a task or a language in it would go before the request's
            bos_token_id=self._tokens.end,
            eos_token_id=self._tokens.end,
            pad_token_id=self._tokens.end,
            decoder_start_token_id=self._tokens.start,
            suppress_tokens=self._facts.suppress_tokens,
            begin_suppress_tokens=self._facts.begin_suppress_tokens,
        )

    def _numbers(self) -> _Tokens:
        known = self._tokenizer.get_vocab()
        languages = {code: known[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in known}
        return _Tokens(
            start=known["<|startoftranscript|>"],
            previous=known["<|startofprev|>"],
            no_speech=known["<|notimestamps|>"] - 1,
            begin=known["<|notimestamps|>"] + 1,
            end=known["<|endoftext|>"],
            tasks={task: known[f"<|{task}|>"] for task in ("transcribe", "translate")},
            languages={} if self.english_only else languages,
        )

    def close(self) -> None:
        """Free the memory."""
        self._model = None
        if self._torch.cuda.is_available():
            self._torch.cuda.empty_cache()

    def language(self, samples: Any, settings: Settings) -> str:
        """Return the code of the language spoken in the first window."""
        if self.english_only:
            return "en"
        scores = self._scores(self._encoded(samples[: int(self._window * RATE)]), [self._tokens.start])[0]
        return max(self._tokens.languages, key=lambda code: float(scores[self._tokens.languages[code]]))

    def segments(self, samples: Any, settings: Settings, stopped: threading.Event) -> Iterator[DecodedSegment]:
        """Yield the segments, as soon as each window is decoded.

        Raises:
            BadRequest: the model does not know the language.
        """
        if settings.language not in self._tokens.languages and not self.english_only:
            name = LANGUAGES[str(settings.language)].title()
            raise BadRequest(
                _("This Whisper model does not support {name}.", name=name), _("Use a newer one, such as large-v3.")
            )
        history = (
            self._tokenizer.encode(f" {settings.prompt.strip()}", add_special_tokens=False) if settings.prompt else []
        )
        at = 0.0
        while at + SHORTEST_SECONDS <= len(samples) / RATE and not stopped.is_set():
            window = samples[round(at * RATE) : round((at + self._window) * RATE)]
            encoded = self._encoded(window)
            try:
                found = self._decoded(encoded, history, settings, stopped)
            except Stopped:
                return
            if found is None:
                at += self._window
                continue
            parts, further = split(found.tokens, self._tokens.begin, len(window) / RATE)
            yield from self._pieces(encoded, parts, at, len(window), settings)
            sure = settings.condition_on_previous_text and found.temperature <= UNSURE_TEMPERATURE
            history = [*history, *(token for _, _, tokens in parts for token in tokens)] if sure else []
            at += further

    def _pieces(
        self, encoded: Any, parts: Sequence[Part], at: float, samples: int, settings: Settings
    ) -> Iterator[DecodedSegment]:
        """Yield the parts of a window that begins `at`, with their words if requested."""
        tokens_so_far = [token for _, _, tokens in parts for token in tokens]
        starts: list[float] = []
        if settings.word_timestamps and tokens_so_far:
            lead = [*self._prompt([], settings), self._tokens.begin - 1]
            with self._torch.inference_mode():
                tokens = [*lead, *tokens_so_far, self._tokens.end]
                starts = word_timestamps.times(self._model, self._heads, encoded, tokens, len(lead), samples)
        for start, end, tokens in parts:
            text = self._text(tokens)
            words = word_timestamps.words(self._text, tokens, starts, at, settings.language) if starts else ()
            starts = starts[len(tokens) :]
            if text.strip() and end > start:
                yield DecodedSegment(at + start, at + end, text, words)

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _decoded(
        self, encoded: Any, history: Sequence[int], settings: Settings, stopped: threading.Event
    ) -> _Found | None:
        """Return the text of a window, decoded at rising temperatures until it is plausible; None is silence."""
        prompt = self._prompt(history, settings)
        silence = self._silence(encoded, prompt)
        found: list[_Found] = []
        for temperature in settings.temperatures:
            one = self._attempt(encoded, prompt, temperature, settings, stopped)
            if silence > settings.no_speech_threshold and one.logprob < settings.logprob_threshold:
                return None
            looping = repetitive(one.text, settings.compression_ratio_threshold)
            if one.logprob >= settings.logprob_threshold and not looping:
                return one
            found.append(one)
        sane = [one for one in found if not repetitive(one.text, settings.compression_ratio_threshold)]
        return max(sane or found, key=lambda one: one.logprob)

    def _prompt(self, history: Sequence[int], settings: Settings) -> list[int]:
        """Return the tokens that the decoder starts with: the previous text, the language, the task."""
        most = self._model.config.max_target_positions // 2 - 1
        before = [self._tokens.previous, *history[-most:]] if history else []
        steer = (
            []
            if self.english_only
            else [self._tokens.languages[str(settings.language)], self._tokens.tasks[settings.task]]
        )
        return [*before, self._tokens.start, *steer]

    def _encoded(self, window: Any) -> Any:
        features = self._extractor(window, sampling_rate=RATE, return_tensors="pt").input_features
        with self._torch.inference_mode():
            return self._model.get_encoder()(features.to(self._model.device, self._model.dtype)).last_hidden_state

    def _scores(self, encoded: Any, prompt: Sequence[int]) -> Any:
        """Return the decoder's logits for what follows each token of the prompt."""
        ids = self._torch.tensor([list(prompt)], device=encoded.device)
        with self._torch.inference_mode():
            return self._model(encoder_outputs=(encoded,), decoder_input_ids=ids, use_cache=False).logits[0].float()

    def _silence(self, encoded: Any, prompt: Sequence[int]) -> float:
        """Return the probability that there is no speech."""
        scores = self._scores(encoded, prompt)[prompt.index(self._tokens.start)]
        return float(scores.softmax(-1)[self._tokens.no_speech])

    def _attempt(
        self, encoded: Any, prompt: list[int], temperature: float, settings: Settings, stopped: threading.Event
    ) -> _Found:
        """Return the tokens that the model decodes at a temperature.

        Raises:
            Stopped: the request was cancelled.
        """
        from transformers import GenerationMixin
        from transformers.generation import LogitsProcessorList, StoppingCriteriaList, WhisperTimeStampLogitsProcessor
        from transformers.modeling_outputs import BaseModelOutput

        def go_on(ids: Any, _: Any, **__: Any) -> Any:
            if stopped.is_set():
                raise Stopped
            return self._torch.zeros(len(ids), dtype=self._torch.bool, device=ids.device)

        beams = 1 if temperature else settings.num_beams or 1
        longest = self._model.config.max_target_positions
        more = {name: value for name, value in settings.more.items() if name != "length_penalty" or beams > 1}
        ids = self._torch.tensor([prompt], device=encoded.device)
        output = GenerationMixin.generate(  # Whisper's own would decode a window to its end in several rounds
            self._model,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            decoder_input_ids=ids,
            decoder_attention_mask=self._torch.ones_like(ids),
            logits_processor=LogitsProcessorList([WhisperTimeStampLogitsProcessor(self._facts, len(prompt))]),
            stopping_criteria=StoppingCriteriaList([go_on]),
            max_new_tokens=min(longest // 2, longest - len(prompt)),
            num_beams=beams,
            return_dict_in_generate=True,
            output_scores=True,
            **({"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}),
            **more,
        )
        tokens = output.sequences[0, len(prompt) :]
        logprob = float(output.sequences_scores[0]) if beams > 1 else self._average(output.scores, tokens, temperature)
        ids_found = [token for token in tokens.tolist() if token != self._tokens.end]
        text = self._text([token for token in ids_found if token < self._tokens.end]).strip()
        return _Found(ids_found, text, logprob, temperature)

    def _average(self, scores: Sequence[Any], tokens: Any, temperature: float) -> float:
        """Return the average log probability of the tokens, as it was before the temperature changed it."""
        rows = self._torch.cat(list(scores)).float() * (temperature or 1.0)
        return float(rows.log_softmax(-1).gather(1, tokens[: len(rows), None]).mean())


def _dtype(name: str, device: Any) -> Any:
    import torch

    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return getattr(torch, name)

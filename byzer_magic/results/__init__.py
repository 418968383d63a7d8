"""Results returned to the user: complete responses that can be saved and displayed."""

from byzer_magic.results.results import (
    ChatResult,
    EmbedResult,
    ImageResult,
    RerankResult,
    Result,
    SpeakResult,
    TranscribeResult,
)

__all__ = ["ChatResult", "EmbedResult", "ImageResult", "RerankResult", "Result", "SpeakResult", "TranscribeResult"]

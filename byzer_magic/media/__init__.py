"""Media that users hand over (paths, bytes, arrays, figures, widgets), as `Media` values."""

from byzer_magic.media.inputs import ADDRESS, LARGEST_BYTES, SIGNATURES, audio, image, mime_of

__all__ = ["ADDRESS", "LARGEST_BYTES", "SIGNATURES", "audio", "image", "mime_of"]

"""Media that users hand over (paths, bytes, arrays, figures, widgets), as `Media` values."""

from byzer_magic.media.inputs import LARGEST_BYTES, SIGNATURES, URL, audio, image, mime_of

__all__ = ["LARGEST_BYTES", "SIGNATURES", "URL", "audio", "image", "mime_of"]

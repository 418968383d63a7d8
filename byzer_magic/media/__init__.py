"""Media that users hand over (paths, bytes, arrays, figures, widgets), as `Media` values."""

from byzer_magic.media.formats import mime_of
from byzer_magic.media.inputs import LARGEST_BYTES, URL, audio, image

__all__ = ["LARGEST_BYTES", "URL", "audio", "image", "mime_of"]

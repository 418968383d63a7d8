"""Images and audio of objects in memory: figures, PIL images, arrays of pixels, samples with their rate."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import mixing, wav


def png_of(source: Any) -> bytes | None:
    """Return a PNG of a figure, a PIL image, an array, or anything that Jupyter shows as an image."""
    if getattr(source, "mode", None) in ("CMYK", "YCbCr", "LAB", "HSV", "F"):  # modes of PIL that PNG does not have
        source = source.convert("RGB")
    figure = getattr(source, "figure", None) or source  # of matplotlib's axes
    for draw in ("savefig", "save"):
        if hasattr(figure, draw):
            buffer = io.BytesIO()
            getattr(figure, draw)(buffer, format="png")
            return buffer.getvalue()
    for name in ("_repr_png_", "_repr_jpeg_"):
        shown = getattr(source, name, lambda: None)()
        if shown:
            shown = shown[0] if isinstance(shown, tuple) else shown  # with metadata beside it
            return shown if isinstance(shown, bytes) else base64.b64decode(shown)
    if hasattr(source, "__array_interface__"):
        from PIL import Image  # where arrays of pixels are made, PIL is installed

        return png_of(Image.fromarray(_pixels(source)))
    return None


def _pixels(source: Any) -> Any:
    """Return an array as PIL takes it: bytes; floats are 0..1, as matplotlib has them."""
    import numpy as np

    pixels = np.asarray(source)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        return (np.clip(np.nan_to_num(pixels), 0, 1) * 255).round().astype(np.uint8)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 1:
        if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
            raise ValueError(_("its numbers are not in 0..255"))
        return pixels.astype(np.uint8)
    return pixels


def wav_of(source: Any) -> bytes | None:
    """Return a WAV of (samples, rate), of (rate, samples) as scipy reads it, or of an item of Hugging Face's datasets.

    Raises:
        ValueError: these are no samples, or the rate is none.

    Example:
        >>> len(wav_of(([0.0, 0.5, -0.5], 16_000)))
        50
    """
    import numpy as np

    if isinstance(source, Mapping) and "array" in source and "sampling_rate" in source:
        source = (source["array"], source["sampling_rate"])
    if not (isinstance(source, tuple) and len(source) == 2):
        return None
    first, second = map(_array, source)
    rate, samples = (first, second) if first.ndim == 0 else (second, first)
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim not in (1, 2):
        raise ValueError(_("the samples have {count} dimensions", count=samples.ndim))
    if not samples.size:
        return b""
    channels = samples.shape[1] if samples.ndim == 2 else 1
    data = np.ascontiguousarray(_sixteen_bits(samples), dtype="<i2").tobytes()
    return wav.write(data, _rate(rate), channels)


def _array(value: Any) -> Any:
    """Return anything with numbers in it as an array; a tensor may be on a GPU, or remember its gradient."""
    import numpy as np

    for step in ("detach", "cpu"):
        value = getattr(value, step, lambda value=value: value)()
    try:
        return np.asarray(value)
    except TypeError:  # numpy has no bfloat16
        return np.asarray(value.float())


def _rate(value: Any) -> int:
    rate = float(value) if value.ndim == 0 and value.dtype.kind in "iuf" else 0.0
    low, high = wav.RATES
    if not low <= rate <= high:
        raise ValueError(_("the sample rate is {rate}, which is not in {low}..{high} Hz", rate=value, low=low,
                           high=high))  # fmt: skip
    return round(rate)


def _sixteen_bits(samples: Any) -> Any:
    """Return samples as 16-bit integers: floats are -1..1, other integers fill the range of their type."""
    import numpy as np

    if samples.dtype.kind == "f":
        found = mixing.cleaned(samples.astype(np.float64))
        if np.isnan(samples).all():
            raise ValueError(_("all samples are NaN"))
        return (found / max(1.0, float(np.abs(found).max())) * 32767).astype("<i2")
    if samples.dtype in (np.uint8, np.uint16):  # silence is in the middle, as in an 8-bit WAV
        wide = samples.astype(np.int32) << (16 - 8 * samples.dtype.itemsize)
        return (wide - 32768).astype("<i2")
    if samples.dtype == np.int8:
        return samples.astype("<i2") << 8
    if samples.dtype == np.int32:
        return (samples >> 16).astype("<i2")
    if samples.dtype.kind not in "iu" or samples.min(initial=0) < -32768 or samples.max(initial=0) > 32767:
        raise ValueError(_("the samples are {dtype}, not 16-bit integers or floats of -1..1", dtype=str(samples.dtype)))
    return samples.astype("<i2")

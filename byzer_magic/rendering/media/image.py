"""Images in a cell: a grid in which each can be enlarged and saved, with the prompt and parameters below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from byzer_magic.i18n import gettext as _
from byzer_magic.media import describe, pixels
from byzer_magic.rendering.markup import tag
from byzer_magic.rendering.media import base as media
from byzer_magic.safety import urls

SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/svg+xml", "image/avif")
"""Media types that browsers show."""


@dataclass(frozen=True, kw_only=True)
class ImageView:
    """One image: its bytes, or its URL."""

    data: bytes = b""
    mime: str = ""
    url: str = ""
    caption: str = ""
    """The prompt as the provider rewrote it."""


def grid(
    images: Sequence[ImageView], prompt: str, facts: Sequence[str], model: str,
    keep: media.Keep = media.kept,
) -> tuple[Markup, str]:  # fmt: skip
    """Return images as HTML, and their alternative text.

    Args:
        images: the images, in order.
        prompt: the prompt that they were generated from.
        facts: more for the caption, such as `size=512x512`.
        model: the alias.
        keep: stores what is too large to embed.
    """
    embed = sum(len(item.data) for item in images) <= media.EMBED_BYTES
    cells, lines = [], []
    for number, item in enumerate(images, 1):
        name = describe.file_name(model, prompt + (f" {number}" if len(images) > 1 else ""), item.mime)
        path = "" if embed or not item.data else keep(item.data, name)
        about = _about(item, embed=embed, path=path)
        place = {"number": number, "count": len(images)}
        source = (
            media.data_url(item.data, item.mime) if item.data and embed else media.linkable(path) or urls.web(item.url)
        )
        cells.append(_cell(item, source, name, about, prompt, _("Enlarge image {number} of {count}", **place)))
        lines.append(about)
    about_all = " · ".join(filter(None, [model, *facts]))
    below = tag("p", prompt, class_="bz-caption") if prompt else Markup()
    below += tag("p", about_all, class_="bz-quiet") if about_all else Markup()
    labels = {"data_close": _("Close"), "data_previous": _("Previous image"), "data_next": _("Next image")}
    kind = "bz-images" if len(images) > 1 else "bz-images bz-single"
    return tag("div", *cells, class_=kind, **labels) + below, "\n".join([*lines, prompt, about_all])


def bundle(
    images: Sequence[ImageView], prompt: str, facts: Sequence[str], model: str, text: str, *,
    keep: media.Keep = media.kept,
) -> dict[str, str]:  # fmt: skip
    """Return images as a MIME bundle; without any, only `text`. The other arguments are those of `grid`."""
    if not images:
        return {"text/plain": text}
    shown, lines = grid(images, prompt, facts, model, keep)
    return {"text/html": str(media.output(shown)), "text/plain": lines}


def _about(item: ImageView, *, embed: bool, path: str) -> str:
    size = pixels.dimensions(item.data)
    known = [f"{size[0]} x {size[1]}" if size else "", item.mime, describe.size(len(item.data)) if item.data else ""]
    if item.url and not item.data:
        known += [item.url, _("stored temporarily by the provider")]
    if item.data and not embed:
        known.append(media.too_large(path))
    if item.caption:
        known.append(_("rewritten by the provider: {text}", text=item.caption))
    return " · ".join(filter(None, known))


def _cell(
    item: ImageView, source: str, name: str, about: str, prompt: str, label: str
) -> Markup:  # fmt: skip
    size = pixels.dimensions(item.data)
    known = item.mime in SHOWN if item.data else urls.may_be_public(urls.split(source).hostname or "")
    visible = bool(source) and known
    shown = Markup()
    if visible:
        alt = prompt or _("no prompt")
        width, height = size or (None, None)
        image = tag(
            "img", src=source, alt=alt, width=width, height=height, loading="lazy", referrerpolicy="no-referrer"
        )
        enlarge = _("{label}: {text}", label=label, text=alt)
        shown = tag("button", image, type="button", class_="bz-enlarge", aria_label=enlarge)
    saver = Markup()
    if source:
        plain = "" if source.startswith("data:") else source
        saver = media.download(name, plain) if visible or plain else Markup()
    caption = Markup(" · ").join(filter(None, [about, saver]))
    return tag("figure", shown, tag("figcaption", caption, class_="bz-quiet"), class_="bz-image")

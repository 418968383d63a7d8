"""What audio, images and transcripts share: embedding, files beside the notebook, downloads."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePath
from urllib.parse import quote

from markupsafe import Markup

from byzer_magic.files import paths, writing
from byzer_magic.i18n import gettext as _
from byzer_magic.rendering import assets
from byzer_magic.rendering.markup import style, tag

EMBED_BYTES = 16 * 1024 * 1024
"""Bytes; larger media are not embedded in the notebook file but saved beside it, and linked."""
KEPT = "byzer_media"
"""The folder beside the notebook where they are saved."""

Keep = Callable[[bytes, str], str]
"""Saves bytes under a name beside the notebook; returns the path, empty if that fails."""


def too_large(path: str) -> str:
    """Return the note on media that are not embedded: where they were saved, if anywhere."""
    if path:
        return _("too large to embed; saved to {path}", path=path)
    return _("too large to display; save it with .save(path)")


def data_url(data: bytes, mime: str) -> str:
    """Return bytes as a data URL; a page shows one of an image or audio only, see `byzer_magic.safety.urls`."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def output(*content: Markup) -> Markup:
    """Return the HTML of a cell: content with the style and the script that it needs."""
    script = Markup(assets.read("media.js"))  # noqa: S704 - our own file
    return style("media.css") + tag("div", *content, class_="bz-media") + tag("script", script)


def download(name: str, link: str = "") -> Markup:
    """Return the control that downloads the media of its figure; for a linked file, a plain link."""
    if link:
        return tag("a", _("Download"), href=link, download=name, target="_blank", rel="noopener noreferrer")
    return tag(
        "button", _("Download"), type="button", class_="bz-link bz-download bz-scripted", data_bz_name=name,
        aria_label=_("Download {name}", name=name), hidden="",
    )  # fmt: skip


def linkable(path: str) -> str:
    """Return the relative URL of a file in the notebook's folder; empty for others, which no page may open."""
    if not path:
        return ""
    absolute = paths.expanded(path).resolve()
    here = Path.cwd().resolve()
    return quote(PurePath(absolute).relative_to(here).as_posix()) if absolute.is_relative_to(here) else ""


def kept(data: bytes, name: str) -> str:
    """Write bytes into the folder beside the notebook; return the path, empty if that fails."""
    stem, _, ending = name.rpartition(".")
    path = Path(KEPT) / f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}.{ending}"
    try:
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.stat().st_size != len(data):
            writing.write(path, data)
    except OSError:
        return ""
    return path.as_posix()

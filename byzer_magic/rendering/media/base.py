"""What views of sounds, pictures and transcripts share: sizes, addresses, names of files, words."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from byzer_magic.i18n import gettext as _
from byzer_magic.media.describe import clock as clock, file_name as file_name, size as size
from byzer_magic.rendering import assets

EMBED_BYTES = 16 * 1024 * 1024
"""Larger media are not put into the notebook file: they are kept beside it, and linked."""
KEPT = "byzer_media"
"""The folder beside the notebook where they are kept."""

Keep = Callable[[bytes, str], str]
"""Keeps bytes under a name beside the notebook; returns the path, or nothing where that cannot be."""


def too_large(path: str) -> str:
    """Return what stands for media that are not embedded: where they were saved, if anywhere."""
    if path:
        return _("too large to embed; saved to {path}", path=path)
    return _("too large to display; save it with .save(path)")


def data_url(data: bytes, mime: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def tag(name: str, inner: str = "", **attributes: Any) -> str:
    """Return an element whose attributes are escaped (`inner` is HTML already); those that are None are left out."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = "".join(f' {key}="{html.escape(str(value))}"' for key, value in pairs)
    return f"<{name}{written}>" if name in ("img", "br") else f"<{name}{written}>{inner}</{name}>"


def output(inner: str) -> str:
    """Return what stands in a cell: HTML with the style and the script that it needs."""
    style, script = assets.read("media.css"), assets.read("media.js")
    return f'<style>{style}</style><div class="bz-media">{inner}</div><script>{script}</script>'


def download(name: str, link: str = "") -> str:
    """Return the control that saves what its figure shows; of a file that is linked, a plain link."""
    if link:
        return tag("a", html.escape(_("Download")), href=link, download=name)
    label = _("Download {name}", name=name)
    kind = "bz-link bz-download bz-scripted"
    return tag(
        "button",
        html.escape(_("Download")),
        type="button",
        class_=kind,
        data_bz_name=name,
        aria_label=label,
        hidden="",
    )


def linkable(path: str) -> str:
    """Return the relative address of a file below the notebook's folder; nothing for others, which no page may open."""
    if not path:
        return ""
    whole = Path(path).expanduser().resolve()
    here = Path.cwd().resolve()
    return quote(PurePath(whole).relative_to(here).as_posix()) if whole.is_relative_to(here) else ""


def kept(data: bytes, name: str) -> str:
    """Write bytes into the folder beside the notebook; return the path, or nothing where that cannot be."""
    stem, _, ending = name.rpartition(".")
    path = Path(KEPT) / f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}.{ending}"
    try:
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.stat().st_size != len(data):
            path.write_bytes(data)
    except OSError:
        return ""
    return path.as_posix()

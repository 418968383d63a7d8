"""Texts of `lazy_gettext` as fields of structs, which cross sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from byzer_magic.i18n.text import unpack

if TYPE_CHECKING:
    Localizable = str
else:
    Localizable = str | list[Any]
    """A text of `lazy_gettext`: it crosses the socket as a packed list and is unpacked where it arrives."""


def unpack_texts(item: msgspec.Struct, *names: str) -> None:
    """Unpack fields of a struct that has crossed a socket.

    Raises:
        ValueError: one is not a text; msgspec reports that as its own error.
    """
    for name in names:
        text = unpack(getattr(item, name))
        if not isinstance(text, str):
            raise ValueError(f"{name} is not a text")  # noqa: TRY004 - msgspec converts this one
        msgspec.structs.force_setattr(item, name, text)

"""Images and audio that requests name by URL: what models of the cluster get of them.

Whoever fetches a URL from inside the cluster's network could reach what its client cannot: routers, Ray's own ports,
the metadata of cloud machines. So no engine does: the endpoint fetches, by the rules of `Downloads`, and passes bytes.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from byzer_magic import media
from byzer_magic.backends import network
from byzer_magic.backends.http.downloads import Downloads, Refused
from byzer_magic.gateway.access import Client
from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _
from byzer_magic.media import formats
from byzer_magic.safety import urls
from byzer_magic.types import Media, Message

MOST = 50
"""URLs in one request."""
ALL = "*"

Take = Callable[[int], None]


class MediaUrls:
    """Fetches what requests for models of the cluster name by URL.

    Args:
        allowed: hosts (with their subdomains), addresses and networks, which may be private; ``*`` for all that are
            public. None: all that are public, but nothing for keys that were made one by one.
    """

    def __init__(self, allowed: Sequence[str] | None = None) -> None:
        self._is_default = allowed is None
        found = allowed or ()
        named = ",".join(entry for entry in found if entry != ALL)
        everything = allowed is None or ALL in found
        self._downloads = Downloads("", named, network.from_environment(os.environ), only_allowed=not everything)

    async def fetched(self, messages: list[Message], client: Client, take: Take) -> list[Message]:
        """Return messages with data in place of URLs.

        Args:
            messages: a conversation.
            client: who asks.
            take: counts bytes (see `bodies.Held`).

        Raises:
            Problem: a URL is not allowed, or cannot be fetched.
        """
        found: dict[str, bytes] = {}
        parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
        wanted = dict.fromkeys(url for part in parts for url in urls_of(part))
        if len(wanted) > MOST:
            raise bad(_("The request has more than {count} URLs.", count=MOST))
        for url in wanted:  # one after the other: what they have together is bounded
            found[url] = await self._fetch(url, client)
            take(len(found[url]))
        return [_with_data(message, found) for message in messages] if found else messages

    async def _fetch(self, url: str, client: Client) -> bytes:
        host = urls.split(url).hostname or ""
        if self._is_default and client.key is not None:
            raise bad(_("This model takes images and audio as data only; --allowed_media_domains would allow URLs."))
        try:
            return await self._downloads.fetch(url)
        except Refused as err:
            reason: object = err
        except Exception as err:  # noqa: BLE001 - of several libraries; none of them is the endpoint's fault
            reason = type(err).__name__ if isinstance(err, TimeoutError) else err
        raise bad(
            _("The media at {host} cannot be fetched: {reason}.", host=host or repr(url[:100]), reason=reason),
            code="media_not_fetched",
        )


def urls_of(part: Any) -> list[str]:
    """Return the URLs in a part of a message that whoever answers must fetch; none where its data is there.

    Example:
        >>> urls_of({"type": "image_url", "image_url": {"url": "https://e.org/a.png"}})
        ['https://e.org/a.png']
        >>> urls_of({"type": "video_url", "video_url": "data:video/mp4;base64,AAAA"}), urls_of({"type": "text"})
        ([], [])
    """
    if isinstance(part, Media):
        return [part.url] if part.url else []
    inner = [value for name, value in part.items() if name.endswith("_url")]
    found = [value.get("url") if isinstance(value, dict) else value for value in inner]
    return [url for url in found if isinstance(url, str) and not url.startswith("data:")]


def _with_data(message: Message, found: dict[str, bytes]) -> Message:
    if not isinstance(message.content, list):
        return message
    return msgspec.structs.replace(message, content=[_part(part, found) for part in message.content])


def _part(part: Any, found: dict[str, bytes]) -> Any:
    """Return a part with its data: an image as every engine gets it, all else as a data: URL."""
    if not urls_of(part):
        return part
    if isinstance(part, Media):
        known = media.image(found[part.url]) if part.is_image else media.audio(found[part.url])
        return msgspec.structs.replace(known, detail=part.detail)
    filled = {name: _field(name, value, found) for name, value in part.items()}
    if part.get("type") != "image_url":
        return filled
    value = filled.get("image_url")
    detail = value.get("detail") if isinstance(value, dict) else ""
    image = media.image(value.get("url") if isinstance(value, dict) else value)
    return msgspec.structs.replace(image, detail=str(detail or ""))


def _field(name: str, value: Any, found: dict[str, bytes]) -> Any:
    if not name.endswith("_url"):
        return value
    if isinstance(value, dict):
        return {**value, "url": _data_url(value.get("url"), found)}
    return _data_url(value, found)


def _data_url(url: Any, found: dict[str, bytes]) -> Any:
    if url not in found:
        return url
    mime = formats.mime_of(found[url]) or "application/octet-stream"
    return f"data:{mime};base64,{base64.b64encode(found[url]).decode()}"

r"""URLs that others give: which may be opened, which hosts are public, and what of one may be shown.

One rule for links, images and downloads: `http` and `https` only. Browsers ignore white space and control characters in
front of and inside a scheme (https://url.spec.whatwg.org/#url-parsing), so that `java\tscript:` is one, too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

WEB = ("http", "https")
"""The schemes of links, images and downloads."""
PLATFORM_ADDRESSES = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Public by their number, but only machines of one cloud reach them: Azure's platform."""
SHOWN = re.compile(
    r"data:(?:image/(?:png|jpeg|gif|webp|bmp|avif|svg\+xml)|audio/[a-z0-9.+-]+)(?:;[a-z0-9-]+=[\w.-]+)*;base64,"
    r"[A-Za-z0-9+/=]*\Z",
    re.IGNORECASE,
)
"""Images and audio that a page embeds: as the source of an element, none of these runs a script."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\<>\"'`{}|^]")
"""What no URL has; browsers drop some of it, and read a backslash as a slash."""
_SCHEME = re.compile(r"\A[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_STRIPPED = re.compile(r"[\x00-\x20]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def split(url: str) -> SplitResult:
    """Return the parts of a URL; of what is none, empty ones."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for one that is not a number
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def web(url: str) -> str:
    r"""Return a URL that may be opened: one of `http` or `https` with a host; empty for any other.

    Example:
        >>> web("https://e.org/a.png"), web("javascript:alert(1)"), web("https://"), web("//e.org")
        ('https://e.org/a.png', '', '', '')
    """
    url = url.strip()
    parts = split(url)
    return url if parts.scheme in WEB and parts.hostname and not _FORBIDDEN.search(url) else ""


def may_refer(url: str) -> bool:
    """Return whether an element of a page may link to a URL: `web`, `mailto:`, or a file beside the notebook.

    Example:
        >>> [may_refer(each) for each in ("byzer_media/a.png", "mailto:a@e.org", "data:text/html,x", "/api")]
        [True, True, False, False]
    """
    bare = _STRIPPED.sub("", url)
    if scheme := _SCHEME.match(bare):
        return bool(web(url)) if scheme[0].lower() in ("http:", "https:") else scheme[0].lower() == "mailto:"
    return not bare.startswith(("/", "\\"))


def may_show(url: str) -> bool:
    """Return whether an element may have a URL as its source: as `may_refer`, or an embedded image or audio.

    Example:
        >>> may_show("data:image/png;base64,AAAA"), may_show("data:text/html;base64,AAAA"), may_show("mailto:a@e.org")
        (True, False, False)
    """
    if url[:5].lower() == "data:":
        return bool(SHOWN.match(url))
    return may_refer(url) and not url.lower().startswith("mailto:")


def opened(url: str, seconds: float) -> Any:
    """Open a URL of the user's own, and what it redirects to, over http and https only.

    Args:
        url: the URL.
        seconds: how long the server may be silent.

    Raises:
        OSError: it cannot be opened, or leads to another scheme (urllib by itself would follow to ftp).
    """
    from urllib.request import HTTPRedirectHandler, build_opener

    class WebOnly(HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            if not web(newurl):
                raise OSError(f"redirected to {split(newurl).scheme or 'nowhere'}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    if split(url).scheme not in WEB:
        raise OSError("not a URL of http or https")
    return build_opener(WebOnly).open(url, timeout=seconds)


# ---- hosts


def address(host: str) -> Address | None:
    """Return the IP address that a host is, with or without brackets; None for a name."""
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return found


def is_public(found: Address) -> bool:
    """Return whether an address is one of the internet: not private, local, reserved, or of a cloud's metadata.

    Example:
        >>> [is_public(ipaddress.ip_address(each)) for each in ("8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1")]
        [True, False, False]
    """
    if found in PLATFORM_ADDRESSES or not found.is_global or found.is_multicast or found.is_reserved:
        return found.version == 6 and found in _NAT64 and is_public(_last_32_bits(found))
    if isinstance(found, ipaddress.IPv6Address):
        inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        if found in _NAT64:
            inner.append(_last_32_bits(found))
        return all(is_public(each) for each in inner if each is not None)
    return True


def _last_32_bits(found: Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)


def may_be_public(host: str) -> bool:
    """Return whether a host is not known to be private: an address, or a name that never is on the internet.

    Example:
        >>> may_be_public("e.org"), may_be_public("localhost"), may_be_public("192.168.1.1"), may_be_public("[::1]")
        (True, False, False, False)
    """
    if (found := address(host)) is not None:
        return is_public(found)
    name = host.rstrip(".").lower()
    numeric = name.rpartition(".")[2]
    if numeric.isdecimal() or numeric.startswith("0x"):
        return False  # 127.1, 2130706433, 0x7f.1: other spellings of an address
    return bool(name) and not f".{name}".endswith((".localhost", ".local", ".internal", ".home.arpa"))


def is_link_local(host: str) -> bool:
    """Return whether a host is an address of the link alone, or of a cloud's platform: machines' metadata is there.

    Example:
        >>> is_link_local("169.254.169.254"), is_link_local("::ffff:169.254.169.254"), is_link_local("10.0.0.1")
        (True, True, False)
    """
    found = address(host)
    inner = getattr(found, "ipv4_mapped", None) or found
    return inner is not None and (inner.is_link_local or inner in PLATFORM_ADDRESSES)


def in_network(found: Address, entry: str) -> bool:
    """Return whether an address is in a network such as ``10.0.0.0/8``, or is that address."""
    try:
        return found in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


# ---- passwords


def without_password(url: str) -> str:
    """Return a URL without user and password.

    Example:
        >>> without_password("http://me:secret@10.0.0.1:3128")
        'http://10.0.0.1:3128'
    """
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url.rpartition("@")[2]


def masked(url: str) -> str:
    """Return what was given as a URL with ``***`` for user and password, also where it is not quite a URL.

    Example:
        >>> masked("https://me:secret@e.org/v1"), masked("me:secret@e.org"), masked("https://e.org/@me")
        ('https://***@e.org/v1', '***@e.org', 'https://e.org/@me')
    """
    start, rest = _userinfo(url)
    return url if not rest else f"{url[:start]}***{url[start + len(rest) :]}"


def passwords(url: str) -> tuple[str, ...]:
    """Return what of a URL is secret: its user and password together, and each that may be a key, also decoded.

    Example:
        >>> passwords("https://me:sec%21ret@e.org")
        ('me:sec%21ret', 'sec%21ret', 'me:sec!ret', 'sec!ret')
    """
    _start, rest = _userinfo(url)
    if not rest:
        return ()
    _user, colon, password = rest.partition(":")
    texts = (rest, password) if colon else (rest,)
    return tuple(dict.fromkeys(text for each in (*texts, *map(unquote, texts)) if (text := each)))


def _userinfo(url: str) -> tuple[int, str]:
    """Return where user and password begin, and what they are, without the @; a password may have a slash in it."""
    prefix = re.match(r"\s*(?:[a-z][a-z0-9+.-]*:/+|https?:)?", url, re.IGNORECASE)
    start = prefix.end() if prefix else 0
    end = url.rfind("@")
    if end < start or end < 0:
        return start, ""
    authority = re.split(r"[/?#]", url[start:], maxsplit=1)[0]
    if "@" in authority:
        return start, authority.rpartition("@")[0]
    port = authority.partition(":")[2]
    is_host = not port or port.isdigit() or authority.startswith("[")
    return (start, "") if is_host else (start, url[start:end])


def hidden_in(values: Iterable[object]) -> tuple[str, ...]:
    """Return the users and passwords of all URLs among values."""
    return tuple(text for value in values if isinstance(value, str) and "@" in value for text in passwords(value))

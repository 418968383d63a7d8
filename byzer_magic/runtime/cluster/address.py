"""Which cluster is meant, and what named it: the command, a setting, or RAY_ADDRESS of the environment."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from byzer_magic import config
from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.runtime.cluster.listeners import is_ipv6, is_up, split

AUTO = "auto"
"""The cluster that runs on this machine, else a local Ray, which is started."""
LOCAL = "local"
"""The local Ray of this user, started unless it runs, whatever else runs on this machine."""
VARIABLE = "RAY_ADDRESS"
USUAL_PORT = 6379
"""The port of a head that `ray start --head` has started."""


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster that somebody has named, without white space around it."""

    address: str
    """`auto`, `local`, or what should be host:port."""
    source: str = ""
    """The variable or the path of the settings file that names it; empty: the command, or Python code."""

    @property
    def is_here(self) -> bool:
        """Return whether any Ray of this machine will do."""
        return self.address in (AUTO, LOCAL)

    def __str__(self) -> str:
        """Return the value as the source has it, such as RAY_ADDRESS='10.0.0.5'."""
        shown = repr(re.sub(r"//[^/@]*@", "//***@", self.address))  # a URL may have a password
        if not self.source:
            return shown
        if "/" in self.source:
            return f"ray_address={shown} ({self.source})"
        return f"{self.source}={shown}"


def resolve(given: str, settings: config.Settings) -> Target:
    """Return the cluster that is meant: the given one, else that of the settings, of RAY_ADDRESS, of this machine.

    `auto` means that the next of them decides, also in RAY_ADDRESS itself.

    Args:
        given: what the command or the Python code says.
        settings: whose `ray_address` is next.

    Example:
        >>> resolve(" 10.0.0.5:6379 ", config.Settings())
        Target(address='10.0.0.5:6379', source='')
    """
    setting = _clean(settings.ray_address)
    given = _clean(given)
    if given not in (AUTO, setting):
        return Target(given)
    if setting != AUTO:
        return Target(setting, config.origin("ray_address", settings.ray_address))
    return from_environment()


def from_environment() -> Target:
    """Return the cluster that RAY_ADDRESS names; `auto` where it is not set."""
    value = _clean(os.environ.get(VARIABLE, ""))
    return Target(value, VARIABLE if value != AUTO else "")


def _clean(value: str) -> str:
    value = value.strip().strip("\"'").strip()  # docker --env-file keeps quotes
    return value.lower() if value.lower() in (AUTO, LOCAL) else value or AUTO


def check(target: Target) -> None:
    """Raise unless the target is host:port and something listens there.

    Raises:
        CannotConnect: the message has what names the address, the hint leads to one that can be used.
    """
    if split(target.address) is None:
        raise CannotConnect(_refusal(target), way_out(target))
    host = split(target.address)[0]  # type: ignore[index]  # it is not None
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        raise CannotConnect(
            _("{value}: there is no machine named {host!r}.", value=str(target), host=host),
            way_out(Target("", target.source)),
        ) from None
    if is_up(target.address):
        return
    if target.source:
        message = _(
            "Nothing is listening at {address}, which {source} names.", address=target.address, source=target.source
        )
    else:
        message = _("Nothing is listening at {address}.", address=target.address)
    raise CannotConnect(message, way_out(target, dead=True))


def _refusal(target: Target) -> Text:
    value, address = str(target), target.address
    scheme = address.partition("://")[0].lower() if "://" in address else ""
    if scheme in ("http", "https"):
        return _("{value} is the URL of a dashboard (Ray Jobs), not the address of a Ray head.", value=value)
    if scheme == "ray":
        return _("{value} is the URL of a Ray Client server, not the address of a Ray head.", value=value)
    if is_ipv6(address):
        return _("{value} is not the address of a Ray head: an IPv6 address needs brackets and a port.", value=value)
    if split(f"{address}:{USUAL_PORT}"):
        return _("{value} is not the address of a Ray head: it has no port.", value=value)
    return _("{value} is not the address of a Ray head.", value=value)


def way_out(target: Target, *, dead: bool = False) -> Text:
    """Return the hint for a target that cannot be used: how to change what names it.

    Args:
        target: the target.
        dead: whether it only does not run.
    """
    example, source = _example(target.address), target.source
    if not source:
        if dead:
            return _("Start Ray there (ray start --head), or use --ray_address auto for a local one.")
        return _("Use auto or host:port, e.g. --ray_address {example}.", example=example)
    if "/" in source:
        if dead:
            return _("Start Ray there (ray start --head), or set ray_address in {path} to auto.", path=source)
        return _(
            "Set ray_address in {path} to host:port, e.g. {example}, or to auto for a Ray on this machine.",
            path=source,
            example=example,
        )
    if dead:
        return _(
            "Start Ray there (ray start --head). For a Ray on this machine: unset {variable} "
            "(in a notebook: %env {variable}=auto).",
            variable=source,
        )
    return _(
        "Set {variable} to host:port, e.g. {example}. For a Ray on this machine: unset {variable} "
        "(in a notebook: %env {variable}=auto).",
        variable=source,
        example=example,
    )


def _example(address: str) -> str:
    """Return an address that could be meant: the same host with the usual port of a head."""
    rest = address.partition("://")[2] if "://" in address else address
    host, _colon, port = rest.rpartition(":")
    likely = (f"[{host}]:{port}", f"[{rest}]:{USUAL_PORT}", f"{rest}:{USUAL_PORT}", f"{_host(rest)}:{USUAL_PORT}")
    return next(filter(split, likely), f"10.0.0.5:{USUAL_PORT}")


def _host(rest: str) -> str:
    try:
        host = urlsplit(f"//{rest}").hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host

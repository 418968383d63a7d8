"""How requests leave the machine: which proxy they pass, and which certificate authorities they trust.

Settings decide, else the environment variables of whoever deploys: not those of the process that started Ray. One rule
serves all clients, since HTTP libraries differ in the variables they read and in how they match `no_proxy`.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import stat
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byzer_magic.commands.secrets import Secret
from byzer_magic.errors import BadParameter
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.safety import urls

if TYPE_CHECKING:
    import ssl

PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
"""In lower case, which wins over upper case, as in curl."""
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_DIR")
"""Variables that name a file or a folder of certificate authorities; the first that has a value counts."""
DIRECT = ("none", "direct")
"""Values of `saas.proxy` that keep requests from any proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Proxy and certificate authorities of a deployment.

    Example:
        >>> network = from_environment({"https_proxy": "http://me:secret@10.0.0.1:3128", "no_proxy": ".corp"})
        >>> network.proxy("https://llm.corp/v1"), network.describe("https://api.x.com/v1")
        (None, ['Requests go through the proxy http://10.0.0.1:3128 (https_proxy).'])
    """

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The proxy's URL, which may have a password, by the scheme of the request: `http`, `https`."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """What has set the proxy of a scheme: a variable, or `saas.proxy`."""
    no_proxy: str = ""
    """Hosts that are reached directly, separated by commas."""
    verify: bool | str = True
    """Whether certificates are checked; or the file or folder with the authorities that are trusted."""
    verify_source: str = ""
    """What has set `verify`: a variable, or `saas.verify`; empty for the default."""
    unusable: tuple[str, ...] = ()
    """Variables that name a proxy of a kind that is not supported (SOCKS)."""

    def proxy(self, url: str) -> str | None:
        """Return the URL of the proxy for requests to `url`, or None for a direct connection."""
        if not self.proxies:  # for each request of nearly all deployments
            return None
        parts = urls.split(url)
        found = self.proxies.get(parts.scheme)
        return None if found is None or covers(parts.hostname or "", parts.netloc, self.no_proxy) else found

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Return what HTTP clients take to check certificates: True for their own default.

        Raises:
            BadParameter: the file or folder has no certificates.
        """
        if isinstance(self.verify, bool):
            return self.verify
        try:
            return _context(self.verify, _state(self.verify))
        except (OSError, ValueError) as err:  # SSLError is an OSError; a NUL in the path is a ValueError
            raise BadParameter(
                _(
                    "{source} is {path}, which contains no certificates: {error}",
                    source=self.verify_source,
                    path=self.verify,
                    error=getattr(err, "strerror", None) or type(err).__name__,
                ),
                _("Specify a file with certificates in PEM format."),
            ) from None

    def check(self, url: str) -> None:
        """Check what requests to `url` need, in the process that deploys.

        Raises:
            BadParameter: the proxy is not a URL, or is a SOCKS proxy; the certificates cannot be read.
        """
        parts = urls.split(url)
        if (proxy := self.proxy(url)) is not None:
            _check_proxy(proxy, self.sources[parts.scheme])
        if parts.scheme != "http":
            self.ssl_context()

    def describe(self, url: str) -> list[str]:
        """Return what is not the default about the way to `url`, in sentences, without passwords."""
        scheme, source = urls.split(url).scheme, self.sources.get(urls.split(url).scheme, "")
        said: list[str] = []
        if (proxy := self.proxy(url)) is not None:
            said.append(
                _("Requests go through the proxy {url} ({source}).", url=urls.without_password(proxy), source=source)
            )
        elif scheme in self.proxies:
            said.append(
                _("Requests to {host} bypass the proxy from {source} (no_proxy).", host=_host(url), source=source)
            )
        elif self.unusable:
            said.append(
                _(
                    "The SOCKS proxy from {source} is not used: only HTTP proxies are supported.",
                    source=", ".join(self.unusable),
                )
            )
        if scheme != "http" and self.verify is False:
            said.append(_("TLS certificates are not verified ({source}).", source=self.verify_source))
        elif scheme != "http" and self.verify_source:
            said.append(
                _("CA certificates are read from {path} ({source}).", path=self.verify, source=self.verify_source)
            )
        return said

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return the users and passwords of the proxies."""
        return urls.hidden_in(self.proxies.values())

    def adopt(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Put proxy and authorities into the environment, for libraries that read it by themselves."""
        for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), *CA_VARIABLES):
            environ.pop(name, None)
        environ.update({f"{scheme}_proxy": url for scheme, url in self.proxies.items()})
        if self.no_proxy:
            environ["no_proxy"] = self.no_proxy
        if isinstance(self.verify, str):
            names = ("SSL_CERT_DIR",) if Path(self.verify).is_dir() else ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
            environ.update(dict.fromkeys(names, self.verify))


def of(params: Mapping[str, Any], environ: Mapping[str, str]) -> Network:
    """Return the network of an API's deployment with these parameters, deployed where `environ` is set.

    Raises:
        BadParameter: the proxy or the certificates cannot be used.
    """
    proxy: Secret | None = params.get("saas.proxy")
    given = str(params.get("saas.verify", ""))
    verify = read_verify(given) if given.strip() else None
    found = from_environment(environ, proxy=proxy.reveal() if proxy else None, verify=verify)
    found.check(base_url(params))
    return found


def base_url(params: Mapping[str, Any]) -> str:
    """Return the URL that requests go to, as far as the parameters name it; providers' own are https."""
    names = ("saas.base_url", "saas.endpoint_url", "saas.azure_endpoint")
    return next((str(params[name]) for name in names if params.get(name)), "https://")


def from_environment(
    environ: Mapping[str, str], *, proxy: str | None = None, verify: bool | str | None = None
) -> Network:
    """Return the network of a deployment.

    Args:
        environ: the environment variables of whoever deploys.
        proxy: `saas.proxy`: a URL for all requests, or one of `DIRECT`; None leaves it to the variables.
        verify: `saas.verify`; None leaves it to the variables.
    """
    values = {name: found for name in PROXY_VARIABLES if (found := _value(environ, name)[1])}
    unusable: tuple[str, ...] = ()
    if proxy is not None:
        proxies = {} if proxy.lower() in DIRECT else dict.fromkeys(("http", "https"), proxy)
        sources, no_proxy = dict.fromkeys(proxies, "saas.proxy"), ""
    else:
        chosen = {
            s: name for s in ("http", "https") for name in ("all_proxy", f"{s}_proxy") if _is_http(values.get(name))
        }
        proxies = {scheme: _with_scheme(values[name]) for scheme, name in chosen.items()}
        sources = {scheme: _value(environ, name)[0] for scheme, name in chosen.items()}
        no_proxy = values.get("no_proxy", "")
        unusable = tuple(
            _value(environ, name)[0] for name in PROXY_VARIABLES[:-1] if name in values and not _is_http(values[name])
        )
    source, trusted = "saas.verify", verify
    if trusted is None:
        source, trusted = next(((name, environ[name]) for name in CA_VARIABLES if environ.get(name)), ("", True))
    return Network(
        proxies=proxies, sources=sources, no_proxy=no_proxy, verify=trusted, verify_source=source, unusable=unusable
    )


def read_verify(text: str) -> bool | str:
    """Return `saas.verify` as a boolean, or as the absolute path that workers in other folders can use.

    Raises:
        BadParameter: there is no such file or folder.

    Example:
        >>> read_verify("true"), read_verify("False")
        (True, False)
    """
    if text.strip().lower() in _BOOLEANS:
        return _BOOLEANS[text.strip().lower()]
    path = paths.expanded(text.strip()).absolute()
    if not paths.exists(path):
        raise BadParameter(
            _("{name} is {value!r}, which does not exist.", name="saas.verify", value=text),
            _("Use true, false, or the path of a file with certificates in PEM format."),
        )
    return str(path)


_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


@functools.lru_cache(maxsize=4)
def _context(path: str, _changed: object) -> ssl.SSLContext:
    """Read certificates: a file with those of all authorities takes 20 ms, and is read until it changes only once."""
    import ssl  # 10 ms, and most deployments leave the certificates to their HTTP client

    if _is_folder(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def _state(path: str) -> object:
    """Return what changes with the content of a file or folder.

    Raises:
        OSError: it is not there.
    """
    found = Path(path).stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _is_folder(path: str) -> bool:
    """Return whether a path is a folder with certificates, rather than a file.

    Raises:
        OSError: it is a folder without anything, a pipe, which might never end, or not there.
    """
    if stat.S_ISREG(mode := Path(path).stat().st_mode):
        return False
    if not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, _("it is not a regular file"))
    if not any(Path(path).iterdir()):
        raise OSError(errno.ENOENT, _("the folder is empty"))
    return True


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable that has a value, by its name in lower or upper case, and the value."""
    return next(
        ((each, found) for each in (name, name.upper()) if (found := environ.get(each, "").strip())), (name, "")
    )


def _with_scheme(url: str) -> str:
    return url if "://" in url or _ONE_SLASH.match(url) else f"http://{url}"


_ONE_SLASH = re.compile(r"[a-z][a-z0-9+]*:/", re.IGNORECASE)
"""A scheme whose second slash is missing, which is not a host with a port."""
_NO_HOST = re.compile(r"[^\w.:%~-]")
"""What no name or address of a host has; letters beyond ASCII may be in one."""


def is_usable(url: str) -> bool:
    """Return whether requests can go to a URL: http or https, a host, and, if there is one, a port that exists.

    Example:
        >>> is_usable("http://10.0.0.1:8000/v1"), is_usable("http://10.0.0.1:port/v1"), is_usable("http://[::1/v1")
        (True, False, False)
    """
    parts = urls.split(url)
    return parts.scheme in urls.WEB and _is_host(parts.hostname or "") and parts.port != 0


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return not _NO_HOST.search(host) and all(0 < len(label) < 64 for label in labels)


def _is_http(url: str | None) -> bool:
    return bool(url) and not _with_scheme(str(url)).lower().startswith("socks")


def _check_proxy(url: str, source: str) -> None:
    if is_usable(url) and urls.split(url).netloc.lower() not in _BOOLEANS:  # https_proxy=yes
        return
    if urls.split(url).scheme.startswith("socks"):
        raise BadParameter(
            _("{source} is a SOCKS proxy; only HTTP proxies are supported.", source=source),
            _("Most SOCKS proxies also have an HTTP port: use http://HOST:PORT."),
        )
    raise BadParameter(
        _("{source} is not the URL of an HTTP proxy.", source=source),
        _("Use http://HOST:PORT, or none for no proxy."),
    )


def _host(url: str) -> str:
    return urls.split(url).netloc.rpartition("@")[2]


def covers(host: str, netloc: str, no_proxy: str) -> bool:
    """Return whether `no_proxy` covers a host; urllib's rule, and what curl and requests have besides it.

    Those are networks (``10.0.0.0/8``), ``*.corp``, and white space between entries.
    """
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in its stub; 20 ms, so imported here

    entries = [entry.removeprefix("*") if entry != "*" else entry for entry in no_proxy.replace(",", " ").split()]
    if proxy_bypass_environment(netloc.rpartition("@")[2], {"no": ",".join(entries)}):
        return True
    found = urls.address(host)
    return found is not None and any(urls.in_network(found, entry) for entry in entries)

"""What `serve` and `serve keys` do."""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byzer_magic.actions.context import Context
from byzer_magic.client import journaling, serving
from byzer_magic.commands import env_file, secrets, spec as specs
from byzer_magic.config import Settings
from byzer_magic.errors import CommandError, MissingExtra
from byzer_magic.files.paths import expanded
from byzer_magic.gateway import notes
from byzer_magic.gateway.keys import Key, KeyFile
from byzer_magic.i18n import gettext as _, lazy_gettext, listed, ngettext
from byzer_magic.journal.store import project_folder
from byzer_magic.safety import tcp_peers

if TYPE_CHECKING:
    from byzer_magic.gateway.gateway import Gateway

NEEDED = ("starlette", "uvicorn", "python_multipart", "prometheus_client")
OLD_KEY = "BYZERLLM_API_KEY"
"""The variable of byzer-llm; the key in it counts before that of the command."""
ALL = "*"
FEW_CONNECTIONS = 2048
"""With fewer, many clients that keep their connections open would use them up."""
FILES = ("ssl_certfile", "ssl_keyfile")
"""Options that name files."""


def serve(context: Context, item: specs.ServeSpec) -> None:
    """Serve until Ctrl-C; in a notebook, or where it is asked for, from processes in the cluster.

    Raises:
        MissingExtra: what it needs is not installed.
        ConfigError: an option is not valid, or the port is in use.
    """
    if item.stop:
        _stop(context, item)
        return
    check_installed()
    from byzer_magic.gateway import deployments, server
    from byzer_magic.gateway.gateway import application

    paths: dict[str, Any] = {name: str(expanded(path).absolute()) for name in FILES if (path := getattr(item, name))}
    item = replace(item, **paths)  # the processes in the cluster have other working directories
    if item.journal or journaling.JOURNAL.is_on(context.manager.settings):
        item = replace(item, journal=str(expanded(item.journal).absolute() if item.journal else project_folder()))
    keep_journal(item, context.manager.settings)
    server.check_tls(item.ssl_certfile, item.ssl_keyfile)
    deployments.served(item.served_model_name)  # what is wrong is said before anything starts
    cors = cors_of(item)
    key = key_of(context, item)
    if item.detach or item.num_replicas is not None or not context.waits:
        _detach(context, item, key)
        return
    connections = server.use_fast_loop()
    listening = server.listen(item.host, item.port)
    manager = context.manager
    if item.ray_address != "auto":  # it is the one to connect to again, too
        manager = manager.reporting_to(manager.reporter, replace(manager.settings, ray_address=item.ray_address))
    manager.ensure()
    keys = KeyFile()
    gateway = make(manager, item, key, keys, closed=bool(key) or keys.exists)
    app = application(gateway, cors)
    running = server.prepare(app, item.uvicorn_log_level, item.ssl_certfile, item.ssl_keyfile)
    _warn(context, item, closed=gateway.access.required)
    for note in notes.missing(manager, item.served_model_name, keys):
        context.output.say(note)
    if connections < FEW_CONNECTIONS:
        context.output.say(
            _("Warning: this system allows {count} open files, and so fewer connections. More: ulimit -Hn {more}",
              count=connections, more=server.MOST_FILES)
        )  # fmt: skip
    url = url_of(item, listening.getsockname()[1])
    context.output.say(_("Serving at {url} (OpenAI: /v1, Anthropic: /v1/messages). Press Ctrl-C to end.", url=url))
    server.run(running, listening, context.output.say)
    context.output.say(_("The endpoint has ended."))


def _detach(context: Context, item: specs.ServeSpec, key: str) -> None:
    """Serve from actors of the cluster."""
    context.manager.ensure(item.ray_address)
    keys = KeyFile()
    closed = bool(key) or keys.exists
    _warn(context, item, closed=closed)
    for note in notes.missing(context.manager, item.served_model_name, keys):
        context.output.say(note)
    found = context.manager.run(serving.start(context.manager, item, key, str(keys.path), closed=closed))
    urls = listed(dict.fromkeys(served.url for served in found))
    context.output.say(
        ngettext(
            "Serving at {url} from {count} process in the cluster, until: serve --stop",
            "Serving at {url} from {count} processes in the cluster, until: serve --stop",
            count=len(found), url=urls,
        )
    )  # fmt: skip


def _stop(context: Context, item: specs.ServeSpec) -> None:
    context.manager.ensure(item.ray_address)
    count = context.manager.run(serving.stop(context.manager, item.grace))
    context.output.say(_("The endpoint has ended.") if count else _("No endpoint is running in the cluster."))


def make(
    manager: Any, item: specs.ServeSpec, key: str, keys: KeyFile, share: int = 1, *, closed: bool = False
) -> Gateway:
    """Return the endpoint that a command describes.

    Args:
        manager: asks the deployments.
        item: the command.
        key: the key that may use everything; empty for none.
        keys: the stored keys.
        share: how many replicas share the limits of the keys.
        closed: whether a key is needed even where none is found.

    Raises:
        CommandError: an option is not valid.
        ConfigError: a key is needed, and none can be found.
    """
    from byzer_magic.gateway.access import Access, Neighbours
    from byzer_magic.gateway.deployments import Deployments, served
    from byzer_magic.gateway.gateway import Gateway
    from byzer_magic.gateway.media_urls import MediaUrls

    media = _items(item.allowed_media_domains, "--allowed_media_domains")
    access = Access(key, keys, share, required=closed)
    access.check()
    neighbours = Neighbours(_items(item.allowed_origins, "--allowed_origins"), local=is_loopback(item.host))
    return Gateway(
        Deployments(manager, served(item.served_model_name), functools.partial(serving.reconnect, manager)),
        access,
        neighbours,
        MediaUrls(None if item.allowed_media_domains is None else media),
    )


def keep_journal(item: specs.ServeSpec, settings: Settings) -> None:
    """Keep the requests of this process in the journal that the command names, if it names one.

    Raises:
        JournalError: it cannot be opened.
    """
    if item.journal:
        journaling.JOURNAL.turn(on=True, project=Path(item.journal))
        journaling.JOURNAL.store(settings)


def check_installed() -> None:
    """Check that the packages of the endpoint are there.

    Raises:
        MissingExtra: one is not.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            lazy_gettext("The endpoint needs {packages}.", packages=listed(missing)),
            lazy_gettext("Run: {command}", command="pip install 'byzer-magic[serve]'"),
        )


def key_of(context: Context, item: specs.ServeSpec) -> str:
    """Return the key that may use everything, with `${NAME}` expanded; empty where there is none.

    Raises:
        MissingKey: the variable has no value.
        CommandError: the key is empty.
    """
    with env_file.lent() as environ:
        given = environ.get(OLD_KEY) or item.api_key
        if item.api_key is not None and given != item.api_key:
            context.output.say(_("Note: the key is that of the variable {name}, not that of --api_key.", name=OLD_KEY))
        if given is None:
            return ""
        found = secrets.look_up(secrets.expand(given, context.variables(), environ), context.variables(), environ)
    if not found.strip():
        raise CommandError(lazy_gettext("--api_key is empty."), lazy_gettext("Specify a key, or leave it out."))
    return found.strip()


def cors_of(item: specs.ServeSpec) -> dict[str, Any] | None:
    """Return the arguments of `CORSMiddleware`; None where no other origin may ask.

    Raises:
        CommandError: a list is not one.
    """
    origins = _items(item.allowed_origins, "--allowed_origins")
    methods = _some(item.allowed_methods, "--allowed_methods") or [ALL]
    headers = _some(item.allowed_headers, "--allowed_headers") or [ALL]
    if not origins:
        return None
    return {
        "allow_origins": origins,
        "allow_methods": methods,
        "allow_headers": headers,
        "allow_credentials": item.allow_credentials,
        "expose_headers": ["x-request-id", "request-id", "retry-after"],
    }


def _some(text: str | None, option: str) -> list[str]:
    """Return a list whose absence allows everything: one that is given, and has nothing in it, is an error.

    Raises:
        CommandError: it is empty, or not a list.

    Example:
        >>> _some(None, "--models"), _some("gpt, emb", "--models")
        ([], ['gpt', 'emb'])
    """
    found = [entry for entry in _items(text, option) if entry.strip()]
    if text is not None and not found:
        raise CommandError(
            lazy_gettext("{option} is empty.", option=option), lazy_gettext("Name what is allowed, or leave it out.")
        )
    return found


def _items(text: str | None, option: str) -> list[str]:
    """Return a list that is given as JSON, as byzer-llm takes it, or with commas."""
    if not text:
        return []
    if text.lstrip()[:1] != "[":
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise CommandError(
            lazy_gettext("{option} is {value}, which is not a list.", option=option, value=repr(text)),
            lazy_gettext("Separate the entries by commas."),
        )
    return found


def is_loopback(host: str) -> bool:
    """Return whether what a host stands for is reached from this machine only, however it is written.

    Example:
        >>> is_loopback("localhost"), is_loopback("127.1"), is_loopback("::ffff:127.0.0.1"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(str(text).partition("%")[0]) for text in found]
    return all((getattr(address, "ipv4_mapped", None) or address).is_loopback for address in addresses)


def _warn(context: Context, item: specs.ServeSpec, *, closed: bool) -> None:
    """Say what the user may not have meant.

    Args:
        context: shows it.
        item: the command.
        closed: whether a key is needed.
    """
    say = context.output.say
    if not closed and not is_loopback(item.host):
        say(
            _("Warning: whoever reaches {host} can use every model: add --api_key, or keys (serve keys add).",
              host=item.host)
        )  # fmt: skip
    if not closed and is_loopback(item.host) and not tcp_peers.tells():
        say(_("Warning: this system does not tell whose a connection is: other users can use every model."))
    if item.prompt_template or item.response_role != "assistant":
        say(_("Note: --prompt_template and --response_role have no effect: models bring their own templates."))


def url_of(item: specs.ServeSpec, port: int) -> str:
    """Return the URL at which an endpoint serves.

    Args:
        item: the command.
        port: where it listens.
    """
    scheme = "https" if item.ssl_certfile else "http"
    host = f"[{item.host}]" if ":" in item.host else item.host
    return f"{scheme}://{host}:{port}"


# ---- keys


def add_key(context: Context, item: specs.AddKeySpec) -> None:
    """Make a key, and show it once.

    Raises:
        CommandError: the name is taken, or an option is not valid.
        ConfigError: the keys cannot be stored.
    """
    keys = KeyFile()
    key = keys.add(
        item.name,
        models=_some(item.models, "--models"),
        requests_per_minute=item.requests_per_minute,
        tokens_per_minute=item.tokens_per_minute,
        days=item.days,
        metrics=item.metrics,
    )
    context.output.text(key)
    context.output.say(_("This key is not shown again; {path} has only its hash.", path=keys.path))
    if context.manager.connected:  # in a notebook; a shell says it when the endpoint starts
        for note in notes.missing(context.manager, None, keys, item.name):
            context.output.say(note)


def list_keys(context: Context, item: specs.ListKeysSpec) -> None:
    """List the keys."""
    rows = [_row(key) for key in KeyFile().read()]
    if item.json:
        context.output.text(json.dumps(rows, indent=4, ensure_ascii=False))
        return
    headings = {
        "name": _("Name"), "id": _("ID"), "models": _("Models"), "requests_per_minute": _("Requests/min"),
        "tokens_per_minute": _("Tokens/min"), "expires": _("Expires"),
    }  # fmt: skip
    shown = [{headings[name]: _cell(value) for name, value in row.items()} for row in rows]
    context.output.table(shown, _("There are no keys. Make one with: serve keys add NAME"))


def _row(key: Key) -> dict[str, Any]:
    expires = None if key.expires is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(key.expires))
    return {
        "name": key.name,
        "id": key.id,
        "models": key.models or None,
        "requests_per_minute": key.requests_per_minute or None,
        "tokens_per_minute": key.tokens_per_minute or None,
        "expires": expires,
    }


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return listed(value) if isinstance(value, list) else str(value)


def revoke_key(context: Context, item: specs.RevokeKeySpec) -> None:
    """Remove a key.

    Raises:
        CommandError: there is none of this name.
    """
    KeyFile().revoke(item.name)
    context.output.say(_("{name}: revoked.", name=item.name))

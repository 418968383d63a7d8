"""Parameters that SaaS backends have in common, and what their files need to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from byzer_magic.backends.base import Param, Setup
from byzer_magic.commands.secrets import Secret
from byzer_magic.errors import BadParameter

CONNECT_SECONDS = 10.0
"""How long a connection may take; the answer itself has `saas.timeout`."""
CONNECTIONS = 1000
"""Connections allowed at least; more when the deployment's concurrency is higher."""

MODEL = Param(name="saas.model", help="model name as the provider spells it", required=True)
TIMEOUT = Param(name="saas.timeout", help="seconds of silence until a request is given up", kind="float", default=600.0)
RETRIES = Param(
    name="saas.max_retries",
    help="how often a request is sent again that failed (429, 5xx, connection) before its answer began",
    kind="int",
    default=2,
)
PROXIES = Param(name="saas.proxies", help="URL of an HTTP proxy; hidden, since it may have a password", secret=True)
EXTRA_HEADERS = Param(name="saas.extra_headers", help="more HTTP headers, as a JSON object", kind="json")
EXTRA_BODY = Param(name="saas.extra_body", help="more fields of the request, as a JSON object", kind="json")
CAPABILITIES = Param(
    name="saas.capabilities",
    help="what the model can do, when its name does not tell: "
    "chat, vision, tools, embed, rerank, transcribe, speak, image",
)

CONNECTION = (MODEL, TIMEOUT, RETRIES, PROXIES, EXTRA_HEADERS, EXTRA_BODY)
"""What every provider has that is reached over HTTP."""


def api_key(*env: str, required: bool = True, help: str = "key of the account", **more: Any) -> Param:  # noqa: A002
    """Return the parameter of a provider's key; `env` are the provider's own variables that stand in for it."""
    return Param(name="saas.api_key", help=help, secret=True, env=env, required=required, **more)


def base_url(default: str, *env: str, aliases: tuple[str, ...] = ()) -> Param:
    """Return the parameter of a provider's base URL; `env` are the provider's own variables that stand in for it."""
    return Param(name="saas.base_url", help="URL of the API", default=default, env=env, aliases=aliases)


def bearer(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that carries `saas.api_key`; none without a key."""
    key = reveal(params.get("saas.api_key"))
    return {"Authorization": f"Bearer {key}"} if key else {}


def reveal(value: Secret | None) -> str | None:
    """Return the text of a secret, or None."""
    return value.reveal() if value else None


def secrets_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all texts that no message may have: keys, and whatever the extra headers carry."""
    keys = [value.reveal() for value in params.values() if isinstance(value, Secret)]
    return (*keys, *(str(value) for value in params.get("saas.extra_headers", {}).values()))


def connections(setup: Setup) -> int:
    """Return how many connections a deployment may have at once."""
    return max(CONNECTIONS, setup.concurrency)


def check_url(params: Mapping[str, Any], name: str, example: str) -> None:
    """Check that a parameter, if it is given, is a URL.

    Raises:
        BadParameter: it is not; where a slash is missing behind ``https:``, the hint has it.
    """
    text = params.get(name)
    if text is None:
        return
    url = urlsplit(text)
    if url.scheme in ("http", "https") and url.netloc:
        return
    if url.scheme in ("http", "https"):  # https:/host or https:host
        fixed = f"{url.scheme}://{text.split(':', 1)[1].lstrip('/')}"
        raise BadParameter(f"{name} is {text!r}, which lacks a slash behind {url.scheme}:.", f"Write {name}={fixed}")
    raise BadParameter(f"{name} is {text!r}, which is not a URL.", f"For example: {example}")


def check_objects(params: Mapping[str, Any]) -> None:
    """Check that the JSON parameters are objects.

    Raises:
        BadParameter: one is another kind of JSON.
    """
    for name in ("saas.extra_headers", "saas.extra_body"):
        if not isinstance(params.get(name, {}), dict):
            raise BadParameter(f"{name} is not a JSON object.", f"""For example: {name}='{{"name": "value"}}'""")

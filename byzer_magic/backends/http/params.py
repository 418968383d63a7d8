"""Parameters that SaaS providers share, and helpers to read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from byzer_magic.backends.base import Param, Setup
from byzer_magic.backends.network import is_usable
from byzer_magic.commands.secrets import Secret, several
from byzer_magic.commands.typography import explain
from byzer_magic.errors import BadParameter, MissingKey
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.log import redact
from byzer_magic.safety import urls

CONNECT_SECONDS = 10.0
"""How long a connection may take; the response itself has `saas.timeout`."""
CONNECTIONS = 1000
"""Connections allowed at least; more when the deployment's concurrency is higher."""

MODEL = Param(name="saas.model", help=_("model name as the provider spells it"), required=True)
TIMEOUT = Param(
    name="saas.timeout", help=_("seconds without data before a request is aborted"), kind="float", default=600.0
)
RETRIES = Param(
    name="saas.max_retries",
    help=_("how many times a request that failed before its first token is retried (429, 5xx, connection errors)"),
    kind="int",
    default=2,
)
PROXY = Param(
    name="saas.proxy",
    help=_(
        "URL of an HTTP proxy; hidden, since it may contain a password; none: no proxy (default: "
        "https_proxy, http_proxy and no_proxy of the user who deploys)"
    ),
    secret=True,
    header=False,
    aliases=("saas.proxies",),
)
VERIFY = Param(
    name="saas.verify",
    help=_(
        "whether to verify TLS certificates: true, false, or a file of trusted CA certificates (default: "
        "SSL_CERT_FILE or REQUESTS_CA_BUNDLE of the user who deploys)"
    ),
    aliases=("saas.https_verify",),
)
EXTRA_HEADERS = Param(
    name="saas.extra_headers", help=_("additional HTTP headers, as a JSON object"), kind="json", header=True
)
EXTRA_BODY = Param(name="saas.extra_body", help=_("additional fields of the request, as a JSON object"), kind="json")
CAPABILITIES = Param(
    name="saas.capabilities",
    help=_(
        "capabilities of the model, when they are not clear from its name: {names}",
        names="chat, vision, tools, embed, rerank, transcribe, speak, image",
    ),
)

CONNECTION = (MODEL, TIMEOUT, RETRIES, PROXY, VERIFY, EXTRA_HEADERS, EXTRA_BODY)
"""What every provider reached over HTTP has."""

CHAT_OPTIONS: dict[str, tuple[str, str]] = {
    "temperature": ("float", _("sampling temperature; 0 always picks the most likely token")),
    "top_p": ("float", _("nucleus sampling: sample from the smallest set of tokens with this total probability")),
    "top_k": ("int", _("sample from this many of the most likely tokens")),
    "max_tokens": ("int", _("maximum length of the response, in tokens")),
    "stop": ("text", _("text, or a JSON list of texts, at which the response ends")),
    "seed": ("int", _("a fixed seed makes responses reproducible, if the provider supports it")),
    "tools": ("json", _("functions that the model may call, as a JSON list")),
    "tool_choice": ("text", _("auto, none, required, or a JSON object that names a tool")),
}
"""Options of chat requests that many providers have: kind and help."""


_ALIASES = {"max_tokens": ("saas.max_output_tokens",)}
"""Other names of options of requests."""


def option_params(options: Mapping[str, tuple[str, str]]) -> tuple[Param, ...]:
    """Return options of requests, by kind and help, as parameters of a deployment."""
    return tuple(
        Param(name=f"saas.{name}", kind=kind, help=help_, aliases=_ALIASES.get(name, ()))
        for name, (kind, help_) in options.items()
    )


def given(params: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters with these names that have a value, without their prefix.

    Example:
        >>> given({"saas.model": "gpt-4o", "saas.temperature": 0.5}, ["temperature", "top_p"])
        {'temperature': 0.5}
    """
    return {name: params[f"saas.{name}"] for name in names if f"saas.{name}" in params}


def api_key(
    *env: str,
    required: bool = True,
    help: str = _("API key of the account; several, separated by commas, take turns"),  # noqa: A002
    **more: Any,
) -> Param:
    """Return the parameter of a provider's key, or keys; `env` are the provider's own variables for it."""
    return Param(name="saas.api_key", help=help, secret=True, several=True, env=env, required=required, **more)


def base_url(default: str, *env: str, aliases: tuple[str, ...] = ()) -> Param:
    """Return the parameter of a provider's base URL; `env` are the provider's own variables for it."""
    return Param(name="saas.base_url", help=_("base URL of the API"), default=default, env=env, aliases=aliases)


def bearer(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that carries `saas.api_key`; none without a key.

    Example:
        >>> bearer({"saas.api_key": Secret("sk-1")}), bearer({})
        ({'Authorization': 'Bearer sk-1'}, {})
    """
    key = reveal(params.get("saas.api_key"))
    return {"Authorization": f"Bearer {key}"} if key else {}


def missing_key(kind: str, name: str, env: str, *, ask_for: str = "", value: str = "${YOUR_KEY}") -> MissingKey:
    """Return the error for a parameter that a provider needs.

    Args:
        kind: the provider's `--pretrained_model_type`.
        name: the parameter, or several alternatives.
        env: the environment variable that the parameter can be in.
        ask_for: the secret that faces ask the user for: the parameter, or the first of several.
        value: an example.

    Example:
        >>> print(missing_key("saas/acme", "saas.api_key", "ACME_API_KEY"))
        saas/acme needs saas.api_key.
        Add --infer_params saas.api_key=${YOUR_KEY} or set ACME_API_KEY.
    """
    return MissingKey(
        _("{kind} needs {name}.", kind=kind, name=name),
        _("Add --infer_params {name}={value} or set {env}.", name=ask_for or name, value=value, env=env),
        **({"param": ask_for} if ask_for else {}),
    )


def reveal(value: Secret | None) -> str | None:
    """Return the text of a secret, or None."""
    return value.reveal() if value else None


def secrets_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all texts that no message may contain: keys, secret headers, and the passwords of URLs.

    Example:
        >>> secrets_of({"saas.extra_headers": {"X-Title": "my-notebook", "X-Api-Key": "my-own-key"}})
        ('my-own-key',)
        >>> secrets_of({"saas.api_key": Secret("key-1,key-2")})
        ('key-1,key-2', 'key-1', 'key-2')
    """
    keys = [value.reveal() for value in params.values() if isinstance(value, Secret)]
    web = [key for key in keys if urls.web(key)]  # a proxy: of its URL only the password is secret
    keys += [each for key in keys if "," in key and key not in web for each in several(key)]
    sent = [*secret_values(params.get("saas.extra_headers")), *secret_values(params.get("saas.extra_body"))]
    return (*(key for key in keys if key not in web), *sent, *urls.hidden_in([*web, *params.values()]))


def secret_values(found: Any) -> list[str]:
    """Return the values in plain data that are secret: by their name, or because they look like a key.

    Example:
        >>> secret_values({"Accept": "application/json", "Authorization": "Token 12345678"})
        ['Token 12345678', '12345678']
    """
    if isinstance(found, list):
        return [text for item in found for text in secret_values(item)]
    if not isinstance(found, Mapping):
        return []
    secret: list[str] = []
    for name, value in found.items():
        if isinstance(value, Mapping | list):
            secret += secret_values(value)
        elif isinstance(value, str) and (is_secret_header(str(name)) or _looks_secret(value)):
            secret += [value, *value.split()[1:]]  # of a scheme and a key, the key alone, too
    return secret


def is_secret_header(name: str) -> bool:
    """Return whether a header, or a field, of that name carries a secret.

    Example:
        >>> [is_secret_header(each) for each in ("X-Api-Key", "Cookie", "X-Title", "prompt_cache_key")]
        [True, True, False, False]
    """
    words = re.split(r"[\W_]+", _NO_SECRET.sub("", name.lower()))
    return any(part in _SECRET_PARTS or part.endswith(_SECRET_ENDS) for part in words)


_NO_SECRET = re.compile(r"(?:cache|idempotency)[-_]key|(?:stop|bos|eos|pad)[-_]token(?:[-_]ids?)?")
"""What is called a key or a token, and is none: names of requests and of a tokenizer's marks."""
_SECRET_PARTS = (
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "passwd",
    "session",
    "signature",
)
_SECRET_ENDS = ("key", "token", "secret", "password")
_MIXED = re.compile(r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=[^0-9]*[0-9])[A-Za-z0-9_+=.-]{20,}\Z")
"""Letters of both cases and digits in a row, as keys have them."""


def _looks_secret(value: str) -> bool:
    return bool(_MIXED.match(value)) or redact(value) != value


def connections(setup: Setup) -> int:
    """Return how many connections a deployment may have at once."""
    return max(CONNECTIONS, setup.concurrency)


def check_url(params: Mapping[str, Any], name: str, example: str) -> None:
    """Check that a parameter, if it is given, is a URL.

    Raises:
        BadParameter: it is not a URL; where a slash is missing after ``https:``, the hint has the URL with it.

    Example:
        >>> check_url({"saas.base_url": "https:/api.x.com"}, "saas.base_url", "https://api.x.com")
        Traceback (most recent call last):
        byzer_magic.errors.BadParameter: saas.base_url is 'https:/api.x.com': a slash is missing after https:.
        Write saas.base_url=https://api.x.com
    """
    text = params.get(name)
    if text is None:
        return
    shown = urls.masked(text)
    scheme, _colon, rest = shown.partition(":")
    scheme = scheme.lower()
    if scheme in urls.WEB and rest and not rest.startswith("//"):  # https:/host or https:host
        fixed = f"{scheme}://{rest.lstrip('/')}"
        raise BadParameter(
            _("{name} is {value!r}: a slash is missing after {scheme}:.", name=name, value=shown, scheme=scheme),
            _("Write {name}={value}", name=name, value=fixed),
        )
    if is_usable(text):
        if odd := _NO_URL.search(text):
            raise BadParameter(
                _("{name} contains {sign!r}, which no URL has.", name=name, sign=odd[0]), _("Remove it.")
            )
        return
    if scheme in ("http", "https"):
        raise BadParameter(
            _("{name} is {value!r}, which has no valid host or port.", name=name, value=shown),
            join(explain(shown), _("Use a URL such as {example}", example=example)),
        )
    raise BadParameter(
        _("{name} is {value!r}, which is not a URL.", name=name, value=shown),
        join(explain(shown), _("Use a URL such as {example}", example=example)),
    )


_NO_URL = re.compile(r"[\s<>\"'`\\{}\u2018-\u201f\u3000-\u303f\uff00-\uff0f\uff1a-\uff20]")
"""What is in no URL, but often follows one in a text: white space, quotation marks, punctuation of Chinese."""


def check_objects(params: Mapping[str, Any]) -> None:
    """Check that the JSON parameters are objects.

    Raises:
        BadParameter: one is another kind of JSON.
    """
    for name in ("saas.extra_headers", "saas.extra_body"):
        if not isinstance(params.get(name, {}), dict):
            example = f"""{name}='{{"name": "value"}}'"""
            raise BadParameter(_("{name} is not a JSON object.", name=name), _("Example: {example}", example=example))

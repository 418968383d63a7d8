"""Secrets in settings: `${NAME}`, `env:NAME` and `keyring:SERVICE/NAME`, and values that are never shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from byzer_magic.commands.options import LONGEST_NAME, is_secret_name
from byzer_magic.errors import BadParameter, ByzerError, MissingExtra, MissingKey
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.safety import redaction, urls

REFERENCE = re.compile(rf"\$\{{([^}}]{{0,{LONGEST_NAME}}})\}}")
"""A `${NAME}`; a name may be any text without a closing brace, as users type more than shells allow."""

_REFERS = re.compile(r"\$\{[^}]*\}|env:\w+|keyring:.+")
_LISTS = ("[", "{")
"""How JSON begins, which is no list of keys."""


class Secret:
    """A text that every rendering shows as ``***``; `reveal` returns the value.

    Example:
        >>> key = Secret("sk-123")
        >>> print(key, [key], f"{key}")
        *** [***] ***
        >>> key.reveal()
        'sk-123'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self._value,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def is_reference(text: str) -> bool:
    """Return whether a text only refers to values (`${NAME}`, `env:NAME`, `keyring:SERVICE/NAME`).

    Example:
        >>> [is_reference(text) for text in ("${KEY}", "env:A,env:B", "Bearer ${KEY}", "env:A,sk-1")]
        [True, True, False, False]
    """
    return all(_REFERS.fullmatch(piece) for piece in several(text))


def several(text: str) -> list[str]:
    """Return the keys that a text has, separated by commas; the text itself where it is JSON.

    Example:
        >>> several("sk-1, sk-2"), several("${A},${B}"), several('["sk-1","sk-2"]')
        (['sk-1', 'sk-2'], ['${A}', '${B}'], ['["sk-1","sk-2"]'])
    """
    return [text] if text.lstrip().startswith(_LISTS) else [piece.strip() for piece in text.split(",")]


def references(text: str) -> list[str]:
    """Return the names of the variables that a setting refers to, by `${NAME}` or `env:NAME`.

    Example:
        >>> references("${A},env:B,sk-1")
        ['A', 'B']
    """
    return [*names_in(text), *(piece.removeprefix("env:") for piece in several(text) if piece.startswith("env:"))]


def names_in(text: str) -> list[str]:
    """Return the names that a text refers to, in order.

    Example:
        >>> names_in("${USER}:${PASSWORD}")
        ['USER', 'PASSWORD']
    """
    return REFERENCE.findall(text)


def expand(text: str, *sources: Mapping[str, Any]) -> str:
    """Replace each `${NAME}` in a text with its value; values are not expanded again.

    Args:
        text: the text as typed.
        sources: where names are looked up, the first that has a name wins.

    Raises:
        MissingKey: no source has the name.

    Example:
        >>> expand("Bearer ${KEY}", {"KEY": "k-1"})
        'Bearer k-1'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        for source in sources:
            if name in source and not _is_missing(source[name]):
                return str(source[name])
        raise MissingKey(_("{name} is not defined.", name=match[0]), _how_to_set(name))

    return REFERENCE.sub(value, text)


class Expansion:
    """Expands settings, and puts what was typed back into errors about them.

    Args:
        sources: where names are looked up, the first that has a name wins.

    Example:
        >>> expansion = Expansion({"KEY": "k-123456"})
        >>> expansion.expand("Bearer ${KEY}"), expansion.as_typed("'Bearer k-123456' is not a number")
        ('Bearer k-123456', "'Bearer ${KEY}' is not a number")
    """

    def __init__(self, *sources: Mapping[str, Any]) -> None:
        self._sources = sources
        self._typed: dict[str, str] = {}
        """What was typed, by the value that it stands for."""
        self._secret: set[str] = set()

    def expand(self, text: str) -> str:
        """Return a text with the values of its `${NAME}`; see `expand`."""
        for name in names_in(text):
            self._keep(expand(f"${{{name}}}", *self._sources), f"${{{name}}}", secret=is_secret_variable(name))
        return expand(text, *self._sources)

    def look_up_each(self, text: str) -> str:
        """Return the keys that a text refers to, separated by commas."""
        return ",".join(map(self.look_up, several(text)))

    def look_up(self, text: str) -> str:
        """Return the key that a text refers to; see `look_up`."""
        found = look_up(text, *self._sources)
        if found != text:
            self._keep(found, text, secret=True)
        return found

    def _keep(self, value: str, typed: str, *, secret: bool) -> None:
        for text in {value, value.strip()} - {""}:
            self._typed.setdefault(text, typed)
            if secret:
                self._secret.add(text)
            self._secret.update(urls.passwords(text) if "@" in text else ())

    def hide(self, texts: Iterable[str]) -> None:
        """Hide further texts, whatever they come from: the passwords of URLs."""
        self._secret.update(texts)

    def restore(self, err: ByzerError) -> None:
        """Put what was typed back into an error, and drop the exceptions behind it if they quote a value."""
        err.message, err.hint = self.as_typed(err.message), self.as_typed(err.hint)
        err.details = {name: self.as_typed(value) for name, value in err.details.items()}
        err.args = (err.message,)
        chain = [err.__cause__, err.__context__]
        if any(self.as_typed(str(cause)) != str(cause) for cause in chain if cause is not None):
            err.__cause__ = err.__context__ = None

    def as_typed(self, value: Any) -> Any:
        """Return a text, or the texts in a value, with what was typed in place of what it stands for."""
        if isinstance(value, Text) and value.values:
            return Text(
                value.template, value.plural, {name: self.as_typed(each) for name, each in value.values.items()}
            )
        if isinstance(value, list):
            return [self.as_typed(item) for item in value]
        if isinstance(value, str):
            return value if isinstance(value, Text) else self._restored(value)
        return self._typed.get(str(value), value) if type(value) in (int, float) else value

    def _restored(self, text: str) -> str:
        for value in sorted(self._typed, key=len, reverse=True):
            for form in dict.fromkeys((value, repr(value)[1:-1], json.dumps(value)[1:-1])):
                whole = text.strip("'\"") == form
                text = text.replace(form, self._typed[value]) if whole or len(form) >= redaction.SHORTEST else text
        return redaction.hide_known(text, tuple(self._secret))


def is_secret_variable(name: str) -> bool:
    """Return whether a variable of that name holds a secret: here a `KEY` is one.

    Example:
        >>> is_secret_variable("MY_KEY"), is_secret_variable("KEYBOARD")
        (True, False)
    """
    return is_secret_name(name) or name.lower().rpartition("_")[2] in ("key", "keys")


TYPED_SECRET = re.compile(
    r"(?:key|token|secret|password)=[\"']?([^\s\"'$]+)|--(?:token|api_key)\s+[\"']?([^\s\"'$]+)", re.IGNORECASE
)
"""A secret that was typed into the command itself."""


def known_here(typed: str, *sources: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what no error of a command may show: secrets that were typed, and the values of secret variables.

    Args:
        typed: the text of the command.
        sources: variables by name.
    """
    found = [word for groups in TYPED_SECRET.findall(typed) for word in groups]
    for source in sources:
        found += [
            value
            for name, value in list(source.items())
            if isinstance(value, str) and is_secret_variable(name) and not _is_place(value)
        ]
        found += urls.hidden_in(value for name, value in list(source.items()) if "proxy" in name.lower())
    return tuple(dict.fromkeys(value for value in found if len(value) >= redaction.PART))


def _is_place(value: str) -> bool:
    """Return whether a value is a path or a URL: of these, parts are in many texts."""
    return value.startswith(("/", "~", ".")) or "://" in value


def look_up(text: str, *sources: Mapping[str, Any]) -> str:
    """Return the key that `env:NAME` or `keyring:SERVICE/NAME` refers to; any other text is the key itself.

    Args:
        text: the setting as typed.
        sources: where the names of variables are looked up, the first that has a value wins.

    Raises:
        MissingKey: the variable has no value, or the keyring has no such entry.
        MissingExtra: the package `keyring` is not installed.
        BadParameter: a keyring entry is not SERVICE/NAME.

    Example:
        >>> look_up("env:KEY", {"KEY": "k-1"}), look_up("k-2")
        ('k-1', 'k-2')
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "env":
        return _from_variables(name, sources)
    if colon and kind == "keyring":
        return _from_keyring(name)
    return text


def _from_variables(name: str, sources: tuple[Mapping[str, Any], ...]) -> str:
    for source in sources:
        if source.get(name) and not _is_missing(source[name]):
            return str(source[name])
    raise MissingKey(_("{name} is not defined.", name=f"env:{name}"), _how_to_set(name))


def _is_missing(value: Any) -> bool:
    """Return whether a notebook's variable has nothing: the None of `os.environ.get`, a missing cell of a table."""
    return value is None or (isinstance(value, float) and value != value)


def _how_to_set(name: str) -> Text:
    return _(
        "Set it first: %env {name}=... in the notebook, export {name}=... in the shell, or a line in .env.", name=name
    )


def _from_keyring(entry: str) -> str:
    service, slash, name = entry.rpartition("/")
    if not (slash and service and name):
        raise BadParameter(
            _("keyring:{entry} is not a valid keyring entry.", entry=entry), _("Write keyring:SERVICE/NAME.")
        )
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise MissingExtra(
            _("keyring: needs the package keyring, which is not installed."),
            _("Run: pip install 'byzer-magic[keyring]'"),
        ) from None
    try:
        found: str | None = keyring.get_password(service, name)
    except KeyringError as err:  # a server often has none
        raise MissingKey(
            _("No keyring is available here: {error}", error=err), _("Use ${NAME} or env:NAME instead.")
        ) from None
    if not found:
        raise MissingKey(
            _("The keyring has no entry {name!r} for {service!r}.", name=name, service=service),
            _("Store it once: keyring set {service} {name}", service=service, name=name),
        )
    return found

"""A URL and its key come from the same source.

A `.env` may be that of a cloned repository. One that only names another URL for a provider must not get the key that
the environment has for it, and no more must its proxy or its certificates, which would let it read along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from byzer_magic.backends import network
from byzer_magic.backends.base import Info, Param, Setup
from byzer_magic.backends.http.params import secret_values
from byzer_magic.commands import env_file, headers
from byzer_magic.commands.secrets import references
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.safety import urls

TYPED = ""
"""The source of what is in the command, in a prompt, a keyring, or a variable of the notebook."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from."""

    source: str
    """`.env`, `the environment`, or `TYPED`; of variables whose source is not known, each has its own."""
    name: str
    """The variable, or the setting where there is none."""
    given: bool = False
    """Whether the command names it."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the values of a deployment's settings come from.

    Args:
        infer_params: the settings as typed.
        typed: secrets that were entered at a prompt, by setting.
        variables: the notebook's variables.
        environ: the environment.
    """

    infer_params: Mapping[str, str]
    typed: Mapping[str, str]
    variables: Mapping[str, Any]
    environ: Mapping[str, str]

    def of(self, param: Param) -> Origin:
        """Return the origin of a setting that has a value."""
        for name in (param.name, *param.aliases):
            if name in self.typed:
                return Origin(TYPED, name, given=True)
            if name in self.infer_params:
                return self._of_text(name, self.infer_params[name], place=param.is_url)
        found = next((name for name in param.env if headers.trimmed(self.environ.get(name, ""))), None)
        return Origin(TYPED, param.name) if found is None else Origin(self.source(found), found)

    def _of_text(self, name: str, text: str, *, place: bool) -> Origin:
        """Return the origin of a text; of several, `.env` decides where a place leads, any other whose a key is."""
        found = [each for each in references(text) if each not in self.variables and each in self.environ]
        found.sort(key=lambda each: (self.source(each) == env_file.NAME) != place)
        return Origin(self.source(found[0]), found[0], given=True) if found else Origin(TYPED, name, given=True)

    def source(self, variable: str) -> str:
        """Return the source of an environment variable."""
        return self.environ.origin(variable) if isinstance(self.environ, env_file.Variables) else variable


def check(info: Info, setup: Setup, origins: Origins) -> None:
    """Check that no key goes to a URL of another source.

    Raises:
        BadParameter: it would.
    """
    given = [param for param in info.params if param.name in setup.params]
    keys = [origins.of(param) for param in given if param.secret and param.in_header]
    found = not keys and info.finds_keys
    keys += [origins.of(param) for param in given if param.kind == "json" and secret_values(setup.params[param.name])]
    for place in _places(info, setup, origins):
        if place.source == TYPED:
            continue
        key = next((each for each in keys if not _fits(place, each)), None)
        if key is not None or (found and place.source == env_file.NAME):
            raise _refused(place, key)


def _fits(place: Origin, key: Origin) -> bool:
    """Return whether a key may go to a place.

    To one of the environment, each key that the command names; to one of `.env` that the command names as well, a key
    that was typed for it.
    """
    if place.source == key.source:
        return True
    return key.given and (place.source != env_file.NAME or (place.given and key.source == TYPED))


def _places(info: Info, setup: Setup, origins: Origins) -> Iterator[Origin]:
    """Yield what decides where requests go, or who can read them."""
    for param in info.params:
        if param.is_url and param.name in setup.params:
            yield origins.of(param)
    way, url = setup.network, network.base_url(setup.params)
    names = [way.verify_source]
    scheme = urls.split(url).scheme
    if (scheme == "http" or way.verify is False) and way.proxy(url):  # it reads what is not encrypted for the provider
        names.append(way.sources[scheme])
    for name in names:
        if name and name in origins.environ and origins.source(name) == env_file.NAME:
            yield Origin(env_file.NAME, name)


def _refused(place: Origin, key: Origin | None) -> BadParameter:
    values = {"place": place.name, "file": env_file.NAME}
    if key is None:
        message = _("{place} is set by {file}, but the key is not.", **values)
    elif place.source == env_file.NAME:
        message = _("{place} is set by {file}, but the key is not ({key}).", **values, key=key.name)
    else:
        message = _("{place} and {key} come from different sources.", **values, key=key.name)
    return BadParameter(
        message,
        _(
            "A {file} that came with other files must not decide where your key goes. Write the URL into the command, "
            "or remove {place}.",
            **values,
        ),
    )

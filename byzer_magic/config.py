"""Settings: a default, then the user's file, then BYZER_* variables, then arguments."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from byzer_magic.errors import ConfigError
from byzer_magic.files import text_files
from byzer_magic.i18n import LANGUAGES, Text, lazy_gettext as _, listed

VERSION = "0.1.0"
"""The version of this package, for those below it, which cannot import `byzer_magic.__version__`."""
DAY = 86400.0


def _setting(default: Any, least: float, most: float) -> Any:
    """Return a field whose numbers are from `least` to `most`."""
    return field(default=default, metadata={"range": (least, most)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user can set once for all commands."""

    ray_address: str = "auto"
    connect_seconds: float = _setting(15.0, 0.001, DAY)
    """How long a Ray cluster at a given address may take to answer, in seconds."""
    start_seconds: float = _setting(60.0, 0.001, DAY)
    """How long the local Ray may take to start."""
    lang: str = field(default="", metadata={"locales": LANGUAGES})
    """`en` or `zh`; empty: that of `LANG`."""
    spare: int = _setting(1, 0, 1)
    """1: keep one process per cluster ready for the next deploy, which saves 2 s; 0: none waits.

    It takes about 65 MB (PSS); a test holds it below 80.
    """
    restore: bool = True
    """Whether the deployments of the last time come back when Ray is started."""
    journal: bool = False
    """Whether requests and answers are written into the journal of the project, `.byzer/journal.db`."""
    journal_mb: int = _setting(4096, 1, 10_000_000)
    """Greatest size of a journal with its media, in MB; the oldest entries go first."""
    journal_days: float = _setting(365.0, 0.001, 36_500)
    """Greatest age of a journal's entries, in days."""
    replay: str = ""
    """A tape, as `journal export` writes it, that answers in place of the models; empty: none."""
    replay_speed: float = _setting(1.0, 0.0, 1000.0)
    """How many times as fast as it was recorded a tape is replayed; 0: at once."""
    local_cpus: int = _setting(0, 0, 10_000)
    """CPUs the local Ray offers; 0: all of the machine's."""
    local_gpus: int = _setting(-1, -1, 1_000)
    """GPUs the local Ray offers; -1: those that Ray finds."""


_KINDS = {int: _("a whole number"), float: _("a number"), str: _("text"), bool: _("true or false")}


def config_file() -> Path:
    """Return the path of the user's settings file, whether it exists or not."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(os.environ.get("BYZER_CONFIG") or Path(home) / "byzer-magic" / "config.toml")


def load(**overrides: Any) -> Settings:
    """Merge defaults, the user's file, the environment and arguments, the last ones first.

    Args:
        overrides: settings by name; None means not given.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type, or is out of its range.

    Example:
        >>> load(lang="zh", connect_seconds=5).lang
        'zh'
    """
    found: dict[str, Any] = {}
    path = config_file()
    content = text_files.read(path)
    if content.problem and not content.missing:
        raise ConfigError(content.problem, _("Correct the file, or remove it and use BYZER_* variables."))
    try:
        found |= tomllib.loads(content.text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:
        raise ConfigError(_("{path} is not valid TOML: {error}.", path=path, error=err)) from err
    names = {item.name for item in fields(Settings)}
    found |= {name: os.environ[f"BYZER_{name.upper()}"] for name in names if f"BYZER_{name.upper()}" in os.environ}
    found |= {name: value for name, value in overrides.items() if value is not None}
    if unknown := sorted(set(found) - names):
        raise ConfigError(
            _("Unknown setting {name!r} in {path}.", name=unknown[0], path=path),
            _("Settings: {names}.", names=listed(sorted(names))),
        )
    return replace(Settings(), **{name: _typed(name, value) for name, value in found.items()})


def origin(name: str, value: str) -> str:
    """Return what sets a setting to a value: its variable, the path of the user's file, or "" for an argument.

    Args:
        name: the setting.
        value: its value, a text.

    Example:
        >>> origin("ray_address", "10.0.0.5:6379")
        ''
    """
    variable = f"BYZER_{name.upper()}"
    if os.environ.get(variable) == value:
        return variable
    path = config_file()
    try:
        return str(path) if tomllib.loads(text_files.read(path).text).get(name) == value else ""
    except tomllib.TOMLDecodeError:
        return ""


def _typed(name: str, value: Any) -> Any:
    wanted = type(getattr(Settings(), name))
    if wanted is bool:
        return _switch(name, value)
    if isinstance(value, bool) or (wanted is int and isinstance(value, float)):
        raise _wrong(name, value, _KINDS[wanted])
    try:
        found = wanted(value)
    except (ValueError, TypeError, OverflowError) as err:
        raise _wrong(name, value, _KINDS[wanted]) from err
    allowed = Settings.__dataclass_fields__[name].metadata
    if "range" in allowed and not allowed["range"][0] <= found <= allowed["range"][1]:  # no range has nan
        least, most = allowed["range"]
        raise _wrong(name, value, _("a number from {least:g} to {most:g}", least=least, most=most))
    if "locales" in allowed and found and _language(found) not in (known := sorted(map(_language, allowed["locales"]))):
        raise _wrong(name, value, _("one of {names}", names=listed(known)))
    return found


def _switch(name: str, value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if (found := words.get(str(value).strip().lower())) is None:
        raise _wrong(name, value, _KINDS[bool])
    return found


def _language(locale: str) -> str:
    """Return the language of a locale's name, such as zh of zh_CN.UTF-8."""
    return re.split("[^a-z]", locale.strip().lower())[0]


def _wrong(name: str, value: Any, wanted: Text) -> ConfigError:
    return ConfigError(
        _("The setting {name} is {value}, which is not {kind}.", name=name, value=repr(value), kind=wanted),
        _("Change it in {path}, or in BYZER_{variable}.", path=config_file(), variable=name.upper()),
    )

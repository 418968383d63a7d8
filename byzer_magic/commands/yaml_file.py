"""The YAML of `--file`: the same names as the flags, the same text values.

Every scalar is read as the text that stands there, so that `2024-02-15` stays what it is, and is then checked like
a flag's value. `ENV {{NAME}}` becomes `${NAME}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.tokens import split
from byzer_magic.errors import CommandError, suggest

_ENV = re.compile(r"ENV\s*(?=.*\{\{)")
_NAME = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_NOTHING = ("", "null", "~")


def read(cls: type[Spec], text: str, path: str) -> dict[str, Any]:
    """Return the options in a YAML text: texts, and `infer_params` as a dict.

    Raises:
        CommandError: it is not YAML, or a key or the shape of a value is wrong.
    """
    options = {opt.name: opt for opt in options_of(cls) if opt.name != "file"}
    found: dict[str, Any] = {}
    for key, value in _load(text, path).items():
        name = key.replace("-", "_")
        if name in options and options[name].kind == "texts":
            found[name] = tuple(_scalar(name, item, path) for item in (value if isinstance(value, list) else [value]))
        elif name in options and name != "infer_params" and options[name].kind == "params":
            found[name] = _params("", value, path)
        elif name in options and options[name].kind != "params":
            if value not in _NOTHING:
                found[name] = _scalar(name, value, path)
        elif "infer_params" in options and (name == "infer_params" or "." in key or isinstance(value, Mapping)):
            start = "" if name == "infer_params" else key
            found.setdefault("infer_params", {}).update(_params(start, value, path))
        else:
            raise _unknown(key, options, path)
    return found


def write(spec: Spec) -> str:
    """Return the YAML that `read` makes the same options of: those that were given."""
    found: dict[str, Any] = {}
    for opt in options_of(spec):
        value = getattr(spec, opt.name)
        if opt.name != "file" and (opt.required or value != opt.default):
            plain = isinstance(value, bool | int | float)
            found[opt.name] = value if plain else _writable(value)
    text = _dumped(found, readable=True)
    return _dumped(found, readable=False) if "\x85" in text else text  # unescaped, YAML takes it for the end of a line


def _dumped(found: Mapping[str, Any], *, readable: bool) -> str:
    import yaml

    return str(yaml.safe_dump(found, sort_keys=False, allow_unicode=readable, width=1_000_000))


def _writable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: str(text) for name, text in value.items()}
    return [*value] if isinstance(value, tuple | list) else str(value)


def _load(text: str, path: str) -> dict[str, Any]:
    import yaml  # a fifth of the time of %load_ext, and only --file needs it

    try:
        data = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and dicts, nothing else
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(err, "problem", None) or str(err).splitlines()[0]
        raise CommandError(f"{path} is not valid YAML{where}: {problem}.", "Values with : or # need quotes.") from err
    if data in (None, ""):
        return {}
    if not isinstance(data, dict):
        raise CommandError(f"{path} is not a mapping of options.", "Write one `option: value` a line.")
    return data


def _unknown(key: str, options: Mapping[str, Option], path: str) -> CommandError:
    hint = suggest(key, options, f"Known: {', '.join(options)}.")
    return CommandError(f"Unknown option {key!r} in {path}.", hint)


def _scalar(name: str, value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise CommandError(f"{name} in {path} is a {_shape(value)}, but it takes one value.")
    return _references(value)


def _shape(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping"


def _references(text: str) -> str:
    match = _ENV.match(text)
    return _NAME.sub(r"${\1}", text[match.end() :]) if match else text


def _params(start: str, value: Any, path: str) -> dict[str, str]:
    """Return settings by their dotted names, whichever way they are written."""
    if start or isinstance(value, Mapping):
        return dict(_flat(start, value))
    words = split(value) if isinstance(value, str) else value
    found: dict[str, str] = {}
    for word in words:
        if isinstance(word, Mapping):
            found |= dict(_flat("", word))
            continue
        name, equals, text = str(word).partition("=")
        if not equals or not name:
            raise CommandError(
                f"infer_params in {path}: {word!r} is not key=value.", "Write name=value, or name: value."
            )
        found[name] = _references(text)
    return found


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, list):
        yield name, json.dumps(_nested(value), ensure_ascii=False)
    else:
        yield name, _references(value)


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _nested(item) for key, item in value.items()}
    return _references(value)

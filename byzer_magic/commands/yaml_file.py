"""The YAML of `--file`: the names of the flags, with values as text.

Every scalar is read as its text, see `byzer_magic.files.plain_yaml`, and then converted like a flag's value.
`ENV {{NAME}}` becomes `${NAME}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from byzer_magic.commands import durations
from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.tokens import split
from byzer_magic.commands.typography import explain
from byzer_magic.errors import CommandError, suggest
from byzer_magic.files import plain_yaml
from byzer_magic.i18n import join, lazy_gettext as _, listed

_ENV = re.compile(r"ENV\s*+(?=.*\{\{)")
_NAME = re.compile(r"\{\{([^{}\n]*+)\}\}")
_ODD = "\u00a0\u2002-\u200a\u3000"
_ODD_SPACES = re.compile(rf"^(?P<indent>[{_ODD} ]*)(?:(?P<key>[\w.-]+:)[{_ODD}]+)?", re.MULTILINE)
"""Spaces of web pages where YAML needs its own: before a key, and after its colon."""
_NEEDS_QUOTES = re.compile(rf"[{_ODD}\x85]")
_NOTHING = ("", "null", "~")


def read(cls: type[Spec], text: str, path: str) -> dict[str, Any]:
    """Return the options in a YAML text.

    Args:
        cls: the spec whose options they are.
        text: the YAML.
        path: the file's name, for errors.

    Returns:
        Texts by option; `infer_params` is a dict of texts.

    Raises:
        CommandError: the text is not valid YAML, or a key is unknown, or a value has the wrong type.
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
    """Return a spec as YAML, so that `read` returns the same options: those that differ from their defaults."""
    found: dict[str, Any] = {}
    for opt in options_of(spec):
        value = getattr(spec, opt.name)
        if opt.name != "file" and (opt.required or value != opt.default):
            if opt.kind == "duration" and value is not None:
                value = durations.written(value)
            found[opt.name] = value if isinstance(value, bool | int | float) else _writable(value)
    return _dumped(found)


def _dumped(found: Mapping[str, Any]) -> str:
    import yaml

    class Writer(yaml.SafeDumper):
        """Puts what `read` would take for white space of its own in quotes, and writes no aliases."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(writer: Writer, value: str) -> yaml.ScalarNode:
        return writer.represent_scalar("tag:yaml.org,2002:str", value, '"' if _NEEDS_QUOTES.search(value) else None)

    Writer.add_representer(str, text)
    return yaml.dump(found, Dumper=Writer, sort_keys=False, allow_unicode=True, width=1_000_000)


def _writable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: str(text) for name, text in value.items()}
    return [*value] if isinstance(value, tuple | list) else str(value)


def _load(text: str, path: str) -> dict[str, Any]:
    try:
        data = plain_yaml.load(_ODD_SPACES.sub(_plain_spaces, text))
    except plain_yaml.UnreadableYaml as err:
        raise _unreadable(err, path) from None
    if data in (None, ""):
        return {}
    if not isinstance(data, dict):
        raise CommandError(
            _("{path} is not a mapping of options.", path=path),
            join(explain(text), _("Write one `option: value` per line.")),
        )
    return data


def _unreadable(err: plain_yaml.UnreadableYaml, path: str) -> CommandError:
    values = {"path": path, "line": err.line}
    if err.sign:
        message = _(
            "{path} has {sign} on line {line}: anchors, aliases, tags and merge keys are not supported.",
            **values,
            sign=err.sign,
        )
        return CommandError(
            message, _("Write the options out; put a value that begins with {sign} in quotes.", sign=err.sign)
        )
    message = (
        _("{path} is not valid YAML on line {line}: {problem}.", **values, problem=err.problem)
        if err.line
        else _("{path} is not valid YAML: {problem}.", path=path, problem=err.problem)
    )
    return CommandError(message, _("Put values with : or # in quotes."))


def _plain_spaces(match: re.Match[str]) -> str:
    return " " * len(match["indent"]) + (f"{match['key']} " if match["key"] else "")


def _unknown(key: str, options: Mapping[str, Option], path: str) -> CommandError:
    hint = suggest(key, options, _("Options: {names}.", names=listed(options)))
    return CommandError(_("Unknown option {name!r} in {path}.", name=key, path=path), join(explain(key), hint))


def _scalar(name: str, value: Any, path: str) -> str:
    if not isinstance(value, str):
        message = (
            _("{name} in {path} is a list, but takes one value.", name=name, path=path)
            if isinstance(value, list)
            else _("{name} in {path} is a mapping, but takes one value.", name=name, path=path)
        )
        raise CommandError(message)
    return _references(value)


def _references(text: str) -> str:
    match = _ENV.match(text)
    return _NAME.sub(lambda name: f"${{{name[1].strip()}}}", text[match.end() :]) if match else text


def _params(start: str, value: Any, path: str) -> dict[str, str]:
    """Return settings by their dotted names, however they are written."""
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
                _("infer_params in {path}: {word!r} is not key=value.", path=path, word=word),
                _("Write name=value, or name: value."),
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

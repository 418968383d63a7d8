"""Several deployments in one YAML file: a document each, as `deploy --file` takes it, after lines of `---`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from byzer_magic.commands import yaml_file
from byzer_magic.commands.parser import build, from_yaml
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _, listed

_BREAK = re.compile(r"^---[ \t]*(?:#.*)?$")


def read(text: str, path: str) -> list[DeploySpec]:
    r"""Return the deployments of a file.

    Args:
        text: the YAML.
        path: the file's name, for errors.

    Raises:
        CommandError: a document is not a deployment, or two have the same alias.

    Example:
        >>> [item.model for item in read("model: a\n---\nmodel: b\n", "fleet.yaml")]
        ['a', 'b']
    """
    specs = [build(DeploySpec, given) for given in _documents(text, path)]
    names = [item.model for item in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CommandError(
            _("{path} defines {aliases} more than once.", path=path, aliases=listed(twice)),
            _("Keep one definition of each."),
        )
    return specs


def _documents(text: str, path: str) -> Iterator[dict[str, object]]:
    lines: list[str] = []
    for number, line in enumerate([*text.splitlines(), "---"]):
        if not _BREAK.match(line):
            lines.append(line)
            continue
        if given := from_yaml(DeploySpec, "\n".join(lines), path):
            yield given
        lines = [""] * (number + 1)  # errors name the line of the file


def write(specs: Iterable[DeploySpec]) -> str:
    """Return deployments as `read` takes them, sorted by alias, so that changes of a file show what has changed."""
    ordered = sorted(specs, key=lambda item: item.model)
    return "---\n".join(yaml_file.write(item) for item in ordered)

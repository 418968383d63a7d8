"""`map`: a prompt to each row of a variable or a file."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from byzer_magic.actions.actions import options_in
from byzer_magic.actions.context import Context
from byzer_magic.commands import spec as specs
from byzer_magic.data import frames
from byzer_magic.data.rows import is_dataset
from byzer_magic.errors import CommandError, suggest
from byzer_magic.files.paths import expanded
from byzer_magic.i18n import gettext, lazy_gettext as _, listed
from byzer_magic.results import saving
from byzer_magic.results.comparison import need_pandas


def map_rows(context: Context, item: specs.MapSpec) -> Any:
    """Ask about each row; return the new table, or what it would take."""
    if item.output_file:
        _format(item.output_file)
        saving.check(item.output_file)
    if item.into:
        _namespace(context, "into")
    rows = _rows(context, item)
    if item.output_file and is_dataset(rows):
        raise CommandError(
            _("The rows are a Ray Dataset, which --output_file does not write."),
            _("Use --into NAME, and then NAME.write_parquet(FOLDER)."),
        )
    context.manager.ensure(item.ray_address)
    found = frames.map_rows(
        context.manager, item.model, rows, dry_run=item.dry_run, prompt=item.prompt, out=item.out,
        schema=_variable(context, item.schema, "schema") if item.schema else None,
        concurrency=item.concurrency, budget=item.budget, journal=not item.no_journal, fresh=item.fresh,
        system=item.system, image=item.image, audio=item.audio, documents=item.documents, timeout=item.timeout,
        options=options_in(item),
    )  # fmt: skip
    if item.dry_run:
        context.output.text(str(found))
        return None
    return _kept(context, item, found)


def _kept(context: Context, item: specs.MapSpec, found: Any) -> Any:
    """Put a table where it is wanted; return it where that is the output of the cell."""
    if item.into:
        _namespace(context, "into")[item.into] = found
        context.output.say(gettext("The table is in {name}.", name=item.into))
    if item.output_file:
        _write(found, item.output_file)
        context.output.say(gettext("Wrote {path}.", path=item.output_file))
    elif not item.into and context.namespace is None:
        context.output.text(found.to_csv(index=False).rstrip("\n"))
    return None if item.into or item.output_file or context.namespace is None else found


def _write(found: Any, path: str) -> None:
    """Write a table.

    Raises:
        CommandError: it cannot be written, or not in this format: JSON has no bytes, a Parquet column has one type.
    """
    try:
        _WRITERS[_format(path)](found, expanded(path))
    except (OSError, ValueError, TypeError, ImportError, OverflowError, NotImplementedError) as err:
        raise CommandError(
            _("Cannot write {path}: {reason}.", path=path, reason=str(err)),
            _("Run it again with another file; answers that are in the journal are not paid twice."),
        ) from err


def _rows(context: Context, item: specs.MapSpec) -> Any:
    """Return the rows that a command names.

    Raises:
        CommandError: it names none, or they cannot be read.
    """
    if (item.df is None) == (item.input_file is None):
        raise CommandError(
            _("map needs the rows: either --df or --input_file."), _("Example: {example}", example=item.examples[0])
        )
    need_pandas()
    if item.df is not None:
        return _variable(context, item.df, "df")
    path = expanded(str(item.input_file))
    try:
        return _READERS[_format(str(item.input_file))](path)
    except (OSError, ValueError, ImportError) as err:
        raise CommandError(
            _("Cannot read {path}: {reason}.", path=path, reason=str(err)), _("Check the file and its name.")
        ) from err


def _variable(context: Context, name: str, option: str) -> Any:
    """Return a variable of the notebook.

    Raises:
        CommandError: there is none of that name.
    """
    variables = _namespace(context, option)
    if name in variables:
        return variables[name]
    known = [each for each in variables if not each.startswith("_")]
    raise CommandError(
        _("--{option} names the variable {name}, which is not defined.", option=option, name=name),
        suggest(name, known, _("Define it in a cell before this one.")),
    )


def _namespace(context: Context, option: str) -> MutableMapping[str, Any]:
    """Return the notebook's variables.

    Raises:
        CommandError: this is not a notebook.
    """
    if context.namespace is None:
        raise CommandError(
            _("--{option} names a variable of a notebook; a shell has none.", option=option),
            _("In a shell, use --input_file and --output_file, and no --schema."),
        )
    return context.namespace


def _format(path: str) -> str:
    """Return the format that a file's name stands for.

    Raises:
        CommandError: it stands for none of those that can be read and written.
    """
    found = Path(path).suffix.lower()
    if found not in _READERS:
        raise CommandError(
            _("{path} is not a table that can be read or written.", path=path),
            _("Its name must end in one of: {names}", names=listed(_READERS)),
        )
    return found


def _csv(path: Path) -> Any:
    import pandas as pd

    return pd.read_csv(path)


def _lines(path: Path) -> Any:
    import pandas as pd

    return pd.read_json(path, lines=True)


def _parquet(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


_READERS: dict[str, Callable[[Path], Any]] = {".csv": _csv, ".jsonl": _lines, ".parquet": _parquet}
_WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    ".csv": lambda found, path: found.to_csv(path, index=False),
    ".jsonl": lambda found, path: found.to_json(path, orient="records", lines=True, force_ascii=False),
    ".parquet": lambda found, path: found.to_parquet(path, index=False),
}

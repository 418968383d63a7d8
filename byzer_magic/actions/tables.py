"""`map`: a prompt to each row of a variable or a file."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from byzer_magic.actions import table_files
from byzer_magic.actions.actions import options_in
from byzer_magic.actions.context import Context
from byzer_magic.commands import spec as specs
from byzer_magic.data import frames
from byzer_magic.data.rows import is_dataset
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.results import saving
from byzer_magic.results.comparison import need_pandas


def map_rows(context: Context, item: specs.MapSpec) -> Any:
    """Ask about each row; return the new table, or what it would take."""
    if item.output_file:
        table_files.format_of(item.output_file)
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
    stopped: list[bool] = []
    found = frames.map_rows(
        context.manager, item.model, rows, dry_run=item.dry_run,
        interrupted=lambda: stopped.append(True), prompt=item.prompt, out=item.out,
        schema=_variable(context, item.schema, "schema") if item.schema else None,
        concurrency=item.concurrency, budget=item.budget, journal=not item.no_journal, fresh=item.fresh,
        system=item.system, image=item.image, audio=item.audio, documents=item.documents, timeout=item.timeout,
        options=options_in(item),
    )  # fmt: skip
    if item.dry_run:
        context.output.text(str(found))
        return None
    kept = _kept(context, item, found)
    if stopped and context.namespace is None:
        raise KeyboardInterrupt  # the rows so far are written; what a script has after this is not to go on with them
    return kept


def _kept(context: Context, item: specs.MapSpec, found: Any) -> Any:
    """Put a table where it is wanted; return it where that is the output of the cell."""
    if item.into:
        _namespace(context, "into")[item.into] = found
        context.output.say(gettext("The table is in {name}.", name=item.into))
    if item.output_file:
        table_files.write(found, item.output_file)
        context.output.say(gettext("Wrote {path}.", path=item.output_file))
    elif not item.into and context.namespace is None:
        context.output.text(b"".join(table_files.csv(found)).decode().rstrip("\n"))
    return None if item.into or item.output_file or context.namespace is None else found


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
    return table_files.read(str(item.input_file), item.encoding)


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

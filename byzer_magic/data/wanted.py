"""What a user wants of a map, and the question about each row that it becomes."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from byzer_magic.capabilities import TABLE, Capability, purpose
from byzer_magic.client import arguments
from byzer_magic.client.typed import Typed
from byzer_magic.data.asking import Question
from byzer_magic.data.template import Template, check_column
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import lazy_gettext as _, listed


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The arguments of `Model.map`, which explains them."""

    prompt: str = ""
    out: str | None = None
    schema: Any = None
    concurrency: int | None = None
    budget: float | None = None
    journal: bool = True
    fresh: bool = False
    folder: str = ""
    """The project folder whose journal is used; empty for that of this process."""
    system: str | None = None
    image: str | None = None
    audio: str | None = None
    documents: Any = None
    capability: str | None = None
    timeout: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what does not depend on model and rows.

        Raises:
            CommandError: a number is not above 0, or an option cannot be sent.
        """
        for name in ("concurrency", "budget"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, numbers.Real) and float(value) > 0):
                raise CommandError(
                    _("{name} is {value}, which is not a number above 0.", name=name, value=arguments.shown(value)),
                    _("Leave it out for no limit."),
                )
        for name in ("out", "capability"):
            if (value := getattr(self, name)) is not None:
                arguments.text(value, name)
        arguments.options(self.options)
        arguments.seconds(self.timeout, "timeout")

    def question(self, capabilities: frozenset[Capability], names: Sequence[str]) -> Question:
        """Return what is asked about each row.

        Args:
            capabilities: of the model.
            names: of the columns that the rows have.

        Raises:
            CommandError: the arguments do not fit the model or the rows.
        """
        given: Any = self.prompt
        prompt = "" if given is None else arguments.text(given, "prompt")
        capability = self._capability(capabilities)
        columns = {name: str(label) for name in ("image", "audio") if (label := getattr(self, name)) is not None}
        documents = None
        if isinstance(self.documents, str):
            columns["documents"] = self.documents
        elif self.documents is not None:
            documents = tuple(arguments.texts(self.documents, "documents"))
        for argument, column in columns.items():
            check_column(column, names, _("{argument} is {column}", argument=argument, column=repr(column)))
        self._check(capability, columns, prompt)
        return Question(
            capability=capability,
            template=Template(prompt, names),
            options=arguments.options(self.options),
            system=self.system,
            timeout=arguments.seconds(self.timeout, "timeout"),
            typed=None if self.schema is None else Typed(self.schema),
            media=columns,
            documents=documents,
        )

    def _capability(self, capabilities: frozenset[Capability]) -> Capability:
        """Return what the model is asked for: what the arguments say, else what it is for."""
        if self.capability is not None:
            known = [each.value for each in TABLE]
            if self.capability not in known:
                raise CommandError(
                    _("{name} is not a capability.", name=repr(self.capability)),
                    suggest(str(self.capability), known, _("Choose one of: {names}", names=listed(known))),
                )
            return Capability(self.capability)
        if self.schema is not None:
            return Capability.CHAT
        return Capability.RERANK if self.documents is not None else purpose(capabilities)

    def _check(self, capability: Capability, columns: dict[str, str], prompt: str) -> None:
        """Check that there is what the capability needs, and nothing that it does not take."""
        takes = TABLE[capability].accepts | ({"documents"} if capability == Capability.RERANK else frozenset())
        given = {*columns, *({"documents"} if self.documents is not None else ())}
        for name in sorted(given - takes):
            raise CommandError(
                _("A request for {capability} does not take {argument}.", capability=capability.value, argument=name),
                _("Leave it out, or choose another model."),
            )
        needs = {Capability.RERANK: "documents", Capability.TRANSCRIBE: "audio"}.get(capability, "prompt")
        if not (given | ({"prompt"} if prompt else set())) & {needs}:
            raise CommandError(
                _("A request for {capability} needs {argument}.", capability=capability.value, argument=needs),
                _("Pass {example}", example=_EXAMPLES[needs]),
            )
        if self.schema is not None and capability != Capability.CHAT:
            raise CommandError(
                _("{capability} returns no values of a type.", capability=capability.value), _("Leave schema out.")
            )


_EXAMPLES = {
    "prompt": 'prompt="Summarize: {text}"',
    "audio": 'audio="COLUMN"',
    "documents": 'documents="COLUMN"',
}

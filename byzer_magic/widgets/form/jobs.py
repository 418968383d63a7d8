"""The actions of a deploy form's buttons: coroutines for the background loop that report their progress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from byzer_magic.actions import hubs
from byzer_magic.catalog import model_facts
from byzer_magic.client import fetching, probe
from byzer_magic.client.manager import Manager
from byzer_magic.commands import parser
from byzer_magic.commands.spec import ChatViewSpec, DeploySpec, UndeploySpec
from byzer_magic.commands.tokens import quote
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.log import redact
from byzer_magic.rendering import progress
from byzer_magic.types import Event, Loading, Ready
from byzer_magic.widgets.form import sizing
from byzer_magic.widgets.form.values import PARAM

if TYPE_CHECKING:
    from byzer_magic.plan import Plan

LOG_LINES = 40
"""Lines of a failed deployment's log that are shown."""
CANCEL_SECONDS = 10.0
"""Seconds that a cancelled action may take to clean up when the kernel ends."""

Status = Mapping[str, Any]
"""What the page shows of an action: its `state` (running, ready, done, failed, stopped) and texts."""
Report = Callable[[Status], None]


class Jobs:
    """The actions of one form; one runs at a time."""

    def __init__(self, manager: Manager, report: Report) -> None:
        self._manager = manager
        self._report = report

    async def deploy(self, plan: Plan) -> None:
        """Deploy, reporting each stage."""
        spec = plan.spec
        alias = spec.model
        status = {"alias": alias, "notes": self._notes(plan)}
        if spec.dry_run:
            self._report(
                {**status, "state": "done", "stage": _("All checks passed; nothing was deployed (--dry_run).")}
            )
            return
        self._report({**status, "state": "running", "stage": _("requesting resources from Ray")})
        async with self._failures(alias, plan.hidden):
            await self._connect(spec.ray_address, status)
            async with aclosing(self._manager.deploy(plan)) as events:  # type: ignore[type-var]  # a generator
                async for event in events:
                    self._report({**status, **self._event(alias, event)})

    async def fetch(self, model: str, spec: DeploySpec) -> bool:
        """Download a model from its hub, reporting the progress; return whether it is here."""
        async with self._failures("", ()):
            async with aclosing(fetching.fetch(model, spec)) as events:  # type: ignore[type-var]  # a generator
                async for event in events:
                    self._report({"alias": spec.model, **self._event(spec.model, event)})
            return True
        return False

    async def preview(self, model: str, spec: DeploySpec) -> None:
        """Report what downloading a model would take."""
        self._report({"state": "running", "stage": _("contacting the hub")})
        async with self._failures("", ()):
            lines = hubs.preview_lines(model, await fetching.preview(model, spec))
            self._report({"state": "done", "stage": lines[0], "notes": lines[1:]})

    async def _connect(self, address: str, status: Status) -> None:
        """Connect to Ray, or start it; a cancellation does not stop that, since others may need it."""

        def report(text: str) -> None:
            self._report({**status, "state": "running", "stage": text})

        await asyncio.to_thread(self._manager.ensure, address, report)

    def _notes(self, plan: Plan) -> list[str]:
        note = model_facts.facts(str(plan.setup.params.get("saas.model", ""))).note
        why = _("{engine}, because {why}.", engine=plan.engine, why=plan.why) if plan.why else ""
        return [localized(text) for text in (why, note, *plan.notes) if text]

    def _event(self, alias: str, event: Event) -> Status:
        status = {"state": "running", "stage": progress.stage(event)}
        match event:
            case Loading(fraction=fraction):
                return {**status, "fraction": fraction}
            case Ready(capabilities=can):
                return {**status, "state": "ready", "chat": _chat_cell(alias, can)}
        return status

    async def test(self, plan: Plan) -> None:
        """Send a small request to a provider, or read what a local model needs."""
        model = str(plan.setup.params.get("saas.model") or plan.spec.model)
        if plan.backend.info.local:
            await self._size_up(plan)
            return
        self._report({"state": "running", "stage": _("Requesting one token from {model} …", model=model)})
        async with self._failures("", plan.hidden):
            found = await probe.ask(plan)
            text = _(
                "Connection works: {capability}, {seconds} s.",
                capability=found.capability,
                seconds=f"{found.seconds:.2f}",
            )
            if not found.asked:
                text = _(
                    "URL and key are well-formed. A test would generate an image, which costs money, "
                    "so no request was sent."
                )
            self._report({"state": "done", "stage": text})

    async def _size_up(self, plan: Plan) -> None:
        self._report({"state": "running", "stage": _("Reading the model's files …")})
        async with self._failures("", plan.hidden):
            rows = await asyncio.to_thread(sizing.size_up, plan)
            text = _("All checks passed; engine: {engine}.", engine=plan.engine)
            self._report({"state": "done", "stage": text, "rows": rows, "notes": self._notes(plan)})

    async def undeploy(self, alias: str, address: str) -> None:
        """Remove what the form has deployed."""
        self._report({"alias": alias, "state": "running", "stage": _("undeploying")})
        async with self._failures("", ()):
            await asyncio.to_thread(self._manager.ensure, address)
            await self._manager.undeploy(UndeploySpec(model=alias))
            self._report({"alias": alias, "state": "done", "stage": _("{alias}: undeployed.", alias=alias)})

    def _failures(self, alias: str, hidden: tuple[str, ...]) -> _Failures:
        return _Failures(self, alias, hidden)

    def failed(self, err: BaseException, alias: str, hidden: tuple[str, ...]) -> None:
        """Report an error, with the log of the workers if there is one."""
        message, hint = (err.message, err.hint) if isinstance(err, ByzerError) else (f"{type(err).__name__}: {err}", "")
        log = self._manager.failed_log(alias)[-LOG_LINES:] if alias else []
        self._report({
            "state": "failed",
            "alias": alias,
            "stage": redact(localized(message), hidden),
            "hint": redact(localized(hint), hidden),
            "log": redact("\n".join(log), hidden),
            "field": _field(f"{message} {hint}"),
        })  # fmt: skip

    def stopped(self, alias: str) -> None:
        """Report a cancellation."""
        self._report(
            {"state": "stopped", "stage": _("Cancelled. Nothing was left behind.") if alias else _("Stopped.")}
        )


def _field(text: str) -> str:
    """Return the setting that an error names, or an empty text."""
    found = re.search(r"\bsaas\.\w+", text)
    return f"{PARAM}{found[0]}" if found else ""


def _chat_cell(alias: str, can: Sequence[str]) -> str:
    """Return the next cell: a chat window, or `%%chat` for models without the chat capability."""
    if "chat" in can:
        return f"%byzer {parser.line(ChatViewSpec(model=alias))}"
    return f"%%chat {quote(alias)}\n"


class _Failures:
    """Reports what ends an action; a cancellation is reported and continues."""

    def __init__(self, jobs: Jobs, alias: str, hidden: tuple[str, ...]) -> None:
        self._jobs = jobs
        self._alias = alias
        self._hidden = hidden

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _kind: object, err: BaseException | None, _trace: object) -> bool:
        if isinstance(err, asyncio.CancelledError):
            self._jobs.stopped(self._alias)
            return False
        if isinstance(err, Exception):  # nothing else would show it: the page waits for an end
            self._jobs.failed(err, self._alias, self._hidden)
            return True
        return False

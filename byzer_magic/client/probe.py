"""A small real request through a backend that is not deployed: checks key, URL and model."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from byzer_magic.backends import probe
from byzer_magic.capabilities import Capability, purpose
from byzer_magic.errors import ByzerError, DeadlineExceeded, RequestError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import redact

if TYPE_CHECKING:
    from byzer_magic.plan import Plan

DEADLINE_SECONDS = 30.0
"""How long a test may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of a test."""

    seconds: float
    capability: Capability
    asked: bool = True
    """False where a request would cost too much to be sent as a test."""


async def ask(plan: Plan) -> Probe:
    """Send the cheapest request that the model can answer, once, and return how long it took.

    Raises:
        ByzerError: it failed; neither text nor hint has the key in it.
    """
    setup = plan.setup
    once = {"saas.max_retries": 0} if "saas.max_retries" in setup.params else {}
    params = {**setup.params, **once}
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            backend = await plan.backend.open(replace(setup, params=params), _silent)
            try:
                capability, began = purpose(backend.capabilities()), time.monotonic()
                asked = await probe.ask(capability, lambda request: backend.ask(capability, request))
                return Probe(seconds=time.monotonic() - began, capability=capability, asked=asked)
            finally:
                await backend.close()
    except TimeoutError as err:
        raise DeadlineExceeded(
            _("No response within {seconds} s.", seconds=f"{DEADLINE_SECONDS:.0f}"),
            _("Check the URL, and whether a proxy is needed."),
        ) from err
    except ByzerError as err:
        err.message, err.hint = redact(err.message, plan.hidden), redact(err.hint, plan.hidden)
        raise
    except Exception as err:  # noqa: BLE001 - an SDK may raise anything: here it becomes a sentence, as it would in a pool
        raise RequestError(redact(f"{type(err).__name__}: {err}", plan.hidden)) from None


def _silent(_stage: str, _fraction: float | None = None, _detail: str = "", /) -> None:
    """Ignore reports: only the request counts."""

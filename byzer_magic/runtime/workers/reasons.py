"""Why a change of a deployment's workers is refused, or ends requests: errors."""

from __future__ import annotations

from collections.abc import Sequence

from byzer_magic import errors
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.routing.autoscale import Scaling


def drained(alias: str) -> errors.NotDeployed:
    """Return the error for requests to a deployment that is drained."""
    return errors.NotDeployed(
        _("{alias} is drained: it accepts no requests.", alias=alias),
        _("To accept requests again: restart --model {alias}", alias=alias),
    )


def restarted(alias: str, index: int, seconds: float) -> errors.WorkerLost:
    """Return the error for a request that did not finish before its worker was restarted."""
    return errors.WorkerLost(
        _(
            "{alias} worker {index} was restarted; this request did not finish within {seconds:g} s.",
            alias=alias,
            index=index,
            seconds=seconds,
        ),
        _("The partial response is kept; send the request again. A longer --grace lets more requests finish."),
    )


def no_such_worker(alias: str, index: int, indices: Sequence[int]) -> errors.CommandError:
    """Return the error for a worker that a deployment does not have."""
    known: str = listed(map(str, indices))
    if len(indices) > 2 and list(indices) == list(range(len(indices))):
        known = f"0-{len(indices) - 1}"
    return errors.CommandError(
        _("{alias} has no worker {index}.", alias=alias, index=index),
        _("Its workers: {indices}.", indices=known),
    )


def beyond(alias: str, limits: Scaling) -> errors.CommandError:
    """Return the error for a number of workers at which a deployment that scales by itself would not stay."""
    return errors.CommandError(
        _("{alias} scales by itself between {low} and {high} workers.", alias=alias, low=limits.base, high=limits.high),
        _("Change the limits: update --model {alias} --min_workers ... --max_workers ...", alias=alias),
    )

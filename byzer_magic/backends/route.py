"""The type `route`: other deployments of the cluster answer under one alias.

It reaches no provider itself: `runtime/workers/route_workers.py` asks the other pools.
"""

from __future__ import annotations

from typing import Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.capabilities import Trait
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.routing import arms

KIND = "route"
TO = "route.to"
PATIENCE = "route.patience"
PATIENCE_SECONDS = 60.0
"""How long a deployment may take until its first token, before the next one is asked."""


class RouteBackend(Backend):
    """Declares the parameters of a route; it is never opened."""

    info = Info(
        kind=KIND,
        title="Route",
        traits=frozenset({Trait.IN_CLUSTER}),
        params=(
            Param(
                name=TO, required=True,
                help=_("deployments: a,b,c for failover in this order, a:0.9,b:0.1 for shares"),
            ),
            Param(
                name=PATIENCE, kind="float", default=PATIENCE_SECONDS,
                help=_("seconds to wait for the first token before trying the next deployment"),
            ),
        ),
    )  # fmt: skip

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the deployments can be read from the parameter, and that a route does not lead to itself."""
        to = str(setup.params[TO])
        try:
            found = arms.parse(to)
        except ValueError as err:
            raise BadParameter(
                _("{name} is {value}: {reason}.", name=TO, value=repr(to), reason=err.args[0]),
                _("Write a,b,c to ask them in this order, or a:0.9,b:0.1 for shares."),
            ) from err
        if any(arm.alias == setup.model for arm in found):
            raise BadParameter(
                _("The route {alias} refers to itself.", alias=setup.model),
                _("Name other deployments in {name}.", name=TO),
            )

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Raise: a route has workers of its own."""
        raise NotImplementedError

    async def close(self) -> None:
        """Free nothing."""


BACKEND = RouteBackend

"""What the endpoint tells about itself: its models, whether it serves, its version."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Any

from byzer_magic.gateway.calls import Call, Reply
from byzer_magic.stat import ModelStat

OWNER = "byzer-magic"


async def health(_call: Call) -> Reply:
    """Answer that the endpoint serves."""
    return Reply({"status": "ok"})


async def version(_call: Call) -> Reply:
    """Return the version of the package."""
    return Reply({"version": importlib.metadata.version("byzer-magic")})


async def models(call: Call) -> Reply:
    """List the models that the client may use."""
    found = await call.gateway.deployments.models(call.client)
    cards = [_card(call, name, stat) for name, stat in found]
    edges = {"first_id": cards[0]["id"], "last_id": cards[-1]["id"]} if cards else {"first_id": None, "last_id": None}
    return Reply({"object": "list", "data": cards, "has_more": False, **edges})


async def model(call: Call) -> Reply:
    """Return one model.

    Raises:
        Problem: there is none of that name.
    """
    name = call.scope["path_params"]["model"]
    for known, stat in await call.gateway.deployments.models(call.client):
        if known == name:
            return Reply(_card(call, known, stat))
    raise await call.gateway.deployments.unknown(name, call.client)


def _card(call: Call, name: str, stat: ModelStat) -> dict[str, Any]:
    """Return a model with the fields of OpenAI's list, those of Anthropic's, and what it can do.

    Anthropic's `capabilities` are an object that says what Claude has; to its clients, nothing is said there.
    """
    created = time.time() - stat.uptime_seconds
    return {
        "id": name,
        "object": "model",
        "created": int(created),
        "owned_by": OWNER,
        "type": "model",
        "display_name": name,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
        "capabilities": None if b"anthropic-version" in call.headers else stat.capabilities,
        "lifecycle": "active",
    }

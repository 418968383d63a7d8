"""Which model a deployment is, for whoever keeps its answers: the same settings and files have the same digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from byzer_magic.backends.registry import ROUTE
from byzer_magic.backends.route import TO
from byzer_magic.commands.secrets import Secret
from byzer_magic.local_models import fingerprint
from byzer_magic.plan import Plan
from byzer_magic.routing import arms
from byzer_magic.runtime.transport.messages import ModelIdentity

IGNORED = frozenset({"saas.timeout", "saas.max_retries", "saas.extra_headers"})
"""Parameters that change how an answer is fetched, and not the answer."""


def of_plan(plan: Plan) -> ModelIdentity:
    """Return the identity of a deployment's model; it may take a while, since the files of local models are hashed.

    Secrets have no part in it: another key is still the same model.
    """
    kind, params = plan.backend.info.kind, plan.setup.params
    members = [arm.alias for arm in arms.parse(str(params[TO]))] if plan.spec.pretrained_model_type == ROUTE else []
    settings = {name: value for name, value in params.items() if not isinstance(value, Secret) and name not in IGNORED}
    known = {"kind": kind, "title": plan.title, "settings": settings, "files": _files(plan.setup.model_path)}
    text = json.dumps(known, sort_keys=True, default=str)
    return ModelIdentity(hashlib.sha256(text.encode()).hexdigest(), kind, plan.title, members)


def _files(path: str | None) -> Any:
    """Return the hash of a local model's files; its path where they are not on this machine."""
    if not path:
        return None
    try:
        return fingerprint.of_model(Path(path))
    except OSError:
        return path

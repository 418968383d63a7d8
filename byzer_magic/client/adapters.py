"""The LoRA adapter that the name of a model chooses."""

from __future__ import annotations

import msgspec

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Request


def with_adapter(request: Request, adapter: str) -> Request:
    """Return a request that chooses a LoRA adapter.

    Raises:
        CommandError: it has chosen one already.
    """
    if request.options.get("lora") is not None:
        raise CommandError(
            _("The name of the model chooses the LoRA adapter {name}, the option lora another.", name=repr(adapter)),
            _("Leave one of them out."),
        )
    return msgspec.structs.replace(request, options={**request.options, "lora": adapter})

"""PEFT's adapters in a network: at any time one of them, the deployment's own, or none is in use.

PEFT can also mix adapters in one batch (`adapter_names`), of LoRA only and not of its variants; here, requests are
batched by their adapter, which works for all kinds: https://huggingface.co/docs/peft/developer_guides/lora.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

from byzer_magic.backends.engine import loading
from byzer_magic.backends.engine.adapters import Adapter
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _

MOST = 8
"""Adapters that stay loaded, those that were used last."""
OWN = "default"
"""PEFT's name of the deployment's own adapter."""


_UNKNOWN = object()
"""In use after a change of what is loaded, until one is chosen."""
REASON_CHARACTERS = 300


class InUse:
    """The adapters of a network, which one thread at a time uses.

    Args:
        network: the model, of transformers.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._own = OWN in getattr(network, "peft_config", {})
        self._names: dict[Adapter, str] = {}
        """PEFT's names of those that requests have chosen, by the time of their last use."""
        self._numbers = itertools.count()
        self._current: object = None

    def use(self, adapter: Adapter | None) -> None:
        """Let an adapter answer from now on; without one, the model as it was deployed.

        Raises:
            BadRequest: it cannot be loaded.
        """
        if adapter is not None:
            self._names[adapter] = self._names.pop(adapter, "") or self._load(adapter)
        if adapter != self._current:
            self._switch(OWN if adapter is None and self._own else self._names[adapter] if adapter else "")
            self._current = adapter
        for each in list(self._names)[:-MOST]:
            self._delete(self._names.pop(each))

    def _switch(self, name: str) -> None:
        if name:
            self._network.enable_adapters()
            self._network.set_adapter(name)
        else:
            with contextlib.suppress(ValueError):  # none is loaded
                self._network.disable_adapters()

    def _load(self, adapter: Adapter) -> str:
        """Load an adapter and return its name; an older state of it makes way."""
        self._current = _UNKNOWN
        for each in [each for each in self._names if each.folder == adapter.folder]:
            self._delete(self._names.pop(each))
        name = f"request_{next(self._numbers)}"
        try:
            with _silence():
                report = self._network.load_adapter(str(adapter.folder), adapter_name=name)
            if missing := [key for key in report.missing_keys if f".{name}." in key]:  # others are of other adapters
                raise ValueError(f"it has no weights for {min(missing)}")
        except Exception as err:  # PEFT may raise anything at files that do not fit
            with contextlib.suppress(Exception):  # as much of it as there is
                self._delete(name)
            reason = " ".join(loading.sentence(err).split())[:REASON_CHARACTERS]
            raise BadRequest(
                _("{path} cannot be used with this model: {reason}", path=str(adapter.folder), reason=reason),
                _("Choose an adapter that was trained from this model."),
            ) from err
        return name

    def _delete(self, name: str) -> None:
        with _silence():
            self._network.delete_adapter(name)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the warnings and reports away that there are several adapters, or that one in use is deleted."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(before)

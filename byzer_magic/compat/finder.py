"""The modules `byzerllm` and `byzerllm...`: found after everything that is installed, filled when used.

Nothing is imported before a name of such a module is asked for; the table of names is `byzer_magic.compat.names`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "byzerllm"


class Finder(MetaPathFinder):
    """Finds `byzerllm` and the modules in it."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of such a module.

        Modules that are left out for a reason can be imported, since code imports more than it uses: their names raise.
        Where the package of that name is installed, so are its modules, and one that it lacks is not found here.

        Raises:
            LeftOut: there is no such module, and nothing is known about it.
        """
        top, inside, _rest = fullname.partition(".")
        if top != NAME or (inside and not _is_ours(sys.modules.get(NAME))):
            return None
        from byzer_magic.compat import names

        gone = fullname not in names.MODULES and fullname not in names.PACKAGES
        if gone and names.reason(fullname) is None:
            raise names.left_out(fullname)
        return ModuleSpec(fullname, _LOADER, is_package=True)  # so that `from` asks for names as modules, too


class Filler(Loader):
    """Makes a module whose names are looked up when they are used."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the two functions into a module that look its names up (PEP 562)."""
        from byzer_magic.compat import names

        known = names.MODULES.get(module.__name__, {})

        def lookup(name: str) -> Any:
            if name.startswith("__") and name not in known:  # asked for by inspect, doctest, pickle, ...
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            value = names.find(module.__name__, name)
            setattr(module, name, value)
            return value

        module.__doc__ = "byzer-llm's API, on the deployments of byzer-magic."
        module.__dict__.update(__all__=sorted(known), __getattr__=lookup, __dir__=lambda: sorted(known))


def _is_ours(module: ModuleType | None) -> bool:
    return getattr(getattr(module, "__spec__", None), "loader", None) is _LOADER


_FINDER = Finder()
_LOADER = Filler()


def install() -> None:
    """Let `import byzerllm` find this API, unless the package of that name is installed; a second call does nothing."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)


def uninstall() -> None:
    """Undo `install`; modules that have been imported stay with those who have them."""
    if _FINDER not in sys.meta_path:
        return
    sys.meta_path.remove(_FINDER)
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        if _is_ours(sys.modules[name]):
            del sys.modules[name]

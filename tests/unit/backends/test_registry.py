"""Finding backends by kind; nothing here starts one."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from byzer_magic import errors, plugins
from byzer_magic.backends import registry
from byzer_magic.backends.base import Backend, Info


@pytest.mark.parametrize("kind", registry.saas_kinds())
def test_find_provider_keeps_the_contract(kind: str) -> None:
    backend = registry.find(kind)
    assert issubclass(backend, Backend)
    assert backend.info.kind == kind
    assert not backend.info.local
    assert all(param.help for param in backend.info.params)
    names = [name for param in backend.info.params for name in (param.name, *param.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("engine", plugins.builtin_engines())
def test_find_engine_keeps_the_contract(engine: str) -> None:
    backend = registry.find("custom/auto", engine)
    assert issubclass(backend, Backend)
    assert backend.info.local
    assert all(param.help for param in backend.info.params)


@pytest.mark.parametrize(
    ("kind", "engine", "words"),
    [
        ("saas/opanai", None, "Did you mean saas/openai"),
        ("custom/auto", None, "Add --infer_backend (available:"),
        ("custom/auto", "llamacpp", "Did you mean llama_cpp"),
        ("zzz", None, "Available: "),
    ],
)
def test_find_suggests_similar_kinds(kind: str, engine: str | None, words: str) -> None:
    with pytest.raises(errors.UnknownKind) as caught:
        registry.find(kind, engine)
    assert words in str(caught.value)


def test_kinds_and_find_import_no_sdk() -> None:
    code = (
        "import sys; from byzer_magic import plugins; from byzer_magic.backends import registry;"
        "registry.kinds();"
        "assert not any(m.startswith('byzer_magic.backends.http') for m in sys.modules), 'listing imports http';"
        "[registry.find(kind) for kind in registry.saas_kinds()];"
        "[registry.find('custom/auto', engine) for engine in plugins.builtin_engines()];"
        "print([m for m in ('openai', 'aiohttp', 'llama_cpp', 'xllamacpp', 'ray', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_find_loads_entry_points_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    class Point:
        name = "saas/third"

        def load(self) -> type[Backend]:
            loaded.append(self.name)
            return registry.find("saas/openai")

    monkeypatch.setattr(plugins, "entry_points", lambda: {Point.name: Point()})
    assert "saas/third" in registry.kinds()
    with pytest.raises(errors.UnknownKind):
        registry.find("saas/fourth")
    assert not loaded
    assert registry.find("saas/third") is registry.find("saas/openai")
    assert loaded == ["saas/third"]


def test_require_hint_is_an_install_command() -> None:
    info = Info(kind="saas/demo", title="", params=(), requires=("no_such_package_here",), extra="demo")
    with pytest.raises(errors.MissingExtra) as caught:
        registry.require(info)
    assert "pip install 'byzer-magic[demo]'" in caught.value.hint


@pytest.mark.parametrize("kind", ["saas/openai", "saas/groq", "custom/bge"])
def test_class_is_found_again_without_reading_folders(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool looks for it at each request."""
    first = registry.find(kind)
    monkeypatch.delattr(pkgutil, "iter_modules")
    assert registry.find(kind) is first

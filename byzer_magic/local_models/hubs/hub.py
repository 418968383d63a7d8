"""The hubs: what they are called, which package fetches from them, and where that keeps the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from byzer_magic.files import paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """One hub."""

    title: str
    url: str
    """Where it is, unless `endpoint` names a mirror."""
    endpoint: str
    """The variable that names a mirror."""
    token: str
    """The variable that has the user's token."""
    offline: str
    """The variable that forbids to ask the hub; empty where there is none."""
    home: str
    """The variable that names another folder for the cache."""
    main: str
    """The branch that is meant where none is named."""
    module: str
    """The package that fetches."""
    extra: str
    """The extra of byzer-magic that installs it."""
    folder: Callable[[Mapping[str, str]], Path]
    """Returns the cache's folder in an environment."""

    def address(self, environ: Mapping[str, str]) -> str:
        """Return where it is asked."""
        return (environ.get(self.endpoint) or self.url).rstrip("/")

    def is_offline(self, environ: Mapping[str, str]) -> bool:
        """Return whether the user has forbidden to ask it."""
        return bool(self.offline) and environ.get(self.offline, "").upper() in ("1", "ON", "YES", "TRUE")


def _hugging_face(environ: Mapping[str, str]) -> Path:
    """Return the cache of Hugging Face: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if where := environ.get(name):
            return paths.expanded(where)
    if where := environ.get("HF_HOME"):
        return paths.expanded(where) / "hub"
    return paths.expanded(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _model_scope(environ: Mapping[str, str]) -> Path:
    """Return the cache of ModelScope: https://modelscope.cn/docs/models/download."""
    return paths.expanded(environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope")


HUBS = {
    "hf": Hub(
        title="Hugging Face", url="https://huggingface.co", endpoint="HF_ENDPOINT", token="HF_TOKEN",  # noqa: S106 - a variable's name
        offline="HF_HUB_OFFLINE", home="HF_HOME", main="main", module="huggingface_hub", extra="hub",
        folder=_hugging_face,
    ),
    "ms": Hub(
        title="ModelScope", url="https://modelscope.cn", endpoint="MODELSCOPE_ENDPOINT", token="MODELSCOPE_API_TOKEN",  # noqa: S106 - a variable's name
        offline="", home="MODELSCOPE_CACHE", main="master", module="modelscope_hub", extra="modelscope",
        folder=_model_scope,
    ),
}  # fmt: skip
"""The hubs, by the prefix of their models."""

"""How a model in a hub is written: `hf:OWNER/REPO`, `hf:OWNER/REPO:file.gguf`, `ms:OWNER/REPO@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from byzer_magic.errors import BadParameter
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _

_PREFIX = re.compile(r"(hf|ms):(?://)?", re.IGNORECASE)
_FORM = re.compile(r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^\s:@]+))?(?::(?P<part>[^\s:]+))?")
_PAGES = (
    re.compile(
        r"https?://(?:huggingface\.co|hf\.co)/(?P<repo>[\w.-]+/[\w.-]+)"
        r"(?:/(?:tree|blob|resolve)/(?P<revision>[^/?#]+)(?:/(?P<part>[^?#]+))?)?/?(?:[?#].*)?"
    ),
    re.compile(r"https?://(?:www\.)?modelscope\.(?:cn|ai)/models/(?P<repo>[\w.-]+/[\w.-]+)(?:/.*)?"),
)
"""Addresses of models' pages, as browsers show them."""
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_SNAPSHOT = "snapshots"
_HUGGING_FACE = "models--"
"""How the folders of Hugging Face's cache begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model in a hub."""

    hub: str
    """`hf` or `ms`."""
    repo: str
    """`OWNER/REPO`."""
    revision: str = ""
    """A branch, tag or commit; empty for the main branch."""
    part: str = ""
    """What of the repository is meant: a file or a quantization (`Q4_K_M`); empty for what an engine needs."""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.hub}:{self.repo}{revision}" + (f":{self.part}" if self.part else "")

    def of(self, part: str) -> Reference:
        """Return the reference to a part of the same repository.

        Example:
            >>> str(Reference(hub="hf", repo="Qwen/Qwen3-8B-GGUF").of("Q4_K_M"))
            'hf:Qwen/Qwen3-8B-GGUF:Q4_K_M'
        """
        return replace(self, part=part)


def from_path(path: Path) -> Reference | None:
    """Return what is at a path of a hub's cache: its commit, and its file where it is one; None for other paths.

    Args:
        path: as `cache.find` returns it, possibly that of another machine.

    Example:
        >>> str(from_path(Path("/hub/models--a--b/snapshots/c0ffee/x.gguf")))
        'hf:a/b@c0ffee:x.gguf'
        >>> str(from_path(Path("/ms/models/a--b/snapshots/master")))
        'ms:a/b@master'
    """
    parts = path.parts
    if _SNAPSHOT not in parts[1:-1]:
        return None
    at = len(parts) - 1 - parts[::-1].index(_SNAPSHOT)
    hub = "hf" if parts[at - 1].startswith(_HUGGING_FACE) else "ms"
    owner, _dashes, name = parts[at - 1].removeprefix(_HUGGING_FACE).partition("--")
    if not (owner and name and parts[at + 1 :]):
        return None
    return Reference(hub=hub, repo=f"{owner}/{name}", revision=parts[at + 1], part="/".join(parts[at + 2 :]))


def is_in_hub(text: str | None) -> bool:
    """Return whether a `--model_path` is a model in a hub, well written or not.

    Example:
        >>> is_in_hub("hf:Qwen/Qwen3-0.6B"), is_in_hub("/models/qwen")
        (True, False)
    """
    return bool(text) and (bool(_PREFIX.match(str(text))) or any(page.fullmatch(str(text)) for page in _PAGES))


def meant(text: str, otherwise: str) -> str:
    """Return the hint that a path which does not exist may be a repository of a hub, or another hint.

    Args:
        text: the path as typed.
        otherwise: the hint where it does not look like one.

    Example:
        >>> str(meant("Qwen/Qwen3-0.6B", ""))
        'For the model in Hugging Face, write hf:Qwen/Qwen3-0.6B.'
    """
    looks = _REPOSITORY.fullmatch(text) and not paths.exists(Path(text).parent)
    return _("For the model in Hugging Face, write hf:{name}.", name=text) if looks else otherwise


def parse(text: str) -> Reference:
    """Return the model in a hub that a text stands for; the address of its page will do, too.

    Raises:
        BadParameter: it is not written like one.

    Example:
        >>> parse("hf:Qwen/Qwen3-8B-GGUF:Q4_K_M").part
        'Q4_K_M'
        >>> str(parse("https://huggingface.co/Qwen/Qwen3-0.6B/tree/main"))
        'hf:Qwen/Qwen3-0.6B@main'
    """
    for hub, page in zip(("hf", "ms"), _PAGES, strict=True):
        if found := page.fullmatch(text):
            return Reference(hub=hub, **{name: value or "" for name, value in found.groupdict().items()})
    prefix = _PREFIX.match(text)
    found = _FORM.fullmatch(text[prefix.end() :]) if prefix else None
    if prefix is None or found is None or (prefix[1].lower() == "ms" and "/" not in found["repo"]):
        raise BadParameter(
            _("{text} is not a valid name of a model in a hub.", text=text),
            _("Write hf:OWNER/REPO (Hugging Face) or ms:OWNER/REPO (ModelScope), and :FILE after it for one file."),
        )
    return Reference(hub=prefix[1].lower(), **{name: value or "" for name, value in found.groupdict().items()})

"""Every error of the package, as one tree.

    ByzerError(message, hint)
      CommandError               the line cannot be understood
      ConfigError
        MissingKey               a required key or variable has no value
        MissingExtra             an optional package is not installed
        UnknownKind              no backend of that name
        BadParameter             a parameter is unknown or has a wrong value
      DeployError
        NameTaken                the alias runs already
        NotDeployed              no deployment of that alias
        NoRoom                   the cluster lacks the CPUs or GPUs
        EngineFailed             a model could not be loaded
      RequestError
        Overloaded               the queue is full
        DeadlineExceeded         no answer in time
        Cancelled                stopped on request
        WorkerLost               the worker died during the request
        Unsupported              the model lacks that capability
        ProviderError            the provider refused or failed
          AuthenticationFailed   401, 403
          ModelNotFound          404
          BadRequest             400, 413, 422
            ContextTooLong       because the prompt is too long
            ContentRefused       a content filter said no
          RateLimited            429
          ProviderUnavailable    5xx, unreachable
          StreamTruncated        the stream ended without a finish reason
      ClusterError
        CannotConnect            Ray cannot be reached or started

Each message says what happened; its hint says the next step. All of them cross process borders: `to_wire`
and `from_wire` carry them between a pool and its clients, pickle carries them through Ray.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from byzer_magic.i18n import Text, join, lazy_gettext as _, localized, pack, unpack


class ByzerError(Exception):
    """Base of all errors: `message` is what happened, `hint` is the next step."""

    def __init__(self, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    @property
    def code(self) -> str:
        """The name a program can test, e.g. ``"RateLimited"``."""
        return type(self).__name__

    @property
    def text(self) -> Text:
        """Message and hint, each a line, still to be translated; `str()` of the error is the same in English."""
        return join(self.message, self.hint, separator="\n")

    def localized(self) -> str:
        """Return message and hint in the active language."""
        return str(localized(self.text))

    def __str__(self) -> str:
        return str(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self).__name__, self.message, self.hint, self.details)


class CommandError(ByzerError):
    """A command line that cannot be understood."""


class ConfigError(ByzerError):
    """A setting that is missing or wrong."""


class MissingKey(ConfigError):
    """A required key or `${NAME}` has no value."""


class MissingExtra(ConfigError):
    """An optional package is not installed."""


class UnknownKind(ConfigError):
    """No backend has that type."""


class BadParameter(ConfigError):
    """A parameter is unknown, or its value cannot be used."""


class DeployError(ByzerError):
    """A deployment cannot be made, found or removed."""


class NameTaken(DeployError):
    """The alias runs already."""


class NotDeployed(DeployError):
    """Nothing runs under that alias."""


class NoRoom(DeployError):
    """The cluster has too few CPUs or GPUs for the deployment."""


class EngineFailed(DeployError):
    """A local engine could not load its model."""


class RequestError(ByzerError):
    """A request that got no (whole) answer; `partial` is the ChatResult of what arrived, where it was collected."""

    partial: Any = None


class Overloaded(RequestError):
    """All slots are taken and the queue is full."""


class DeadlineExceeded(RequestError):
    """No answer within the time allowed."""


class Cancelled(RequestError):
    """The request was stopped on demand."""


class WorkerLost(RequestError):
    """The worker died while it was answering."""


class Unsupported(RequestError):
    """The model cannot do what was asked."""


class ProviderError(RequestError):
    """The provider refused or failed; `details` may have status, request_id, retry_after (seconds)."""


class AuthenticationFailed(ProviderError):
    """The provider does not accept the key (401, 403)."""


class ModelNotFound(ProviderError):
    """The provider does not know the model (404)."""


class BadRequest(ProviderError):
    """The provider does not accept the request (400, 413, 422)."""


class ContextTooLong(BadRequest):
    """The prompt is longer than the model's context."""


class ContentRefused(BadRequest):
    """A content filter refused the prompt or the answer."""


class RateLimited(ProviderError):
    """Too many requests (429)."""


class ProviderUnavailable(ProviderError):
    """The provider failed (5xx) or cannot be reached."""


class StreamTruncated(ProviderError):
    """The stream ended before the provider said that it was complete."""


class ClusterError(ByzerError):
    """Ray refused or failed."""


class CannotConnect(ClusterError):
    """Ray cannot be reached or started."""


def _all_kinds(base: type[ByzerError]) -> dict[str, type[ByzerError]]:
    kinds = {base.__name__: base}
    for kind in base.__subclasses__():
        kinds |= _all_kinds(kind)
    return kinds


KINDS = _all_kinds(ByzerError)


def _rebuild(code: str, message: str, hint: str, details: dict[str, Any]) -> ByzerError:
    return KINDS.get(code, ByzerError)(message, hint, **details)


def to_wire(error: ByzerError) -> dict[str, Any]:
    """Return the error as plain data that msgpack can carry."""
    message, hint = pack(error.message), pack(error.hint)
    details = {name: pack(value) for name, value in error.details.items()}
    return {"code": error.code, "message": message, "hint": hint, "details": details}


def from_wire(data: dict[str, Any]) -> ByzerError:
    """Rebuild what `to_wire` made; an unknown code becomes a plain ByzerError."""
    details = {name: unpack(value) for name, value in data.get("details", {}).items()}
    return _rebuild(data["code"], unpack(data["message"]), unpack(data.get("hint", "")), details)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known name that `word` was probably meant to be, or "" when none is similar; case is ignored.

    Args:
        word: what the user typed.
        known: the names that exist.
        cutoff: least similarity, from 0 to 1 (`difflib.get_close_matches`).

    Example:
        >>> nearest("deplyo", ["deploy", "undeploy", "stat"])
        'deploy'
    """
    import difflib

    by_fold = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=cutoff)
    return by_fold[found[0]] if found else ""


def suggest(word: str, known: Iterable[str], otherwise: str = "", *, folder: PurePath | None = None) -> str:
    """Return the hint "Did you mean ...?" with the nearest known name, or `otherwise` when none is similar.

    Args:
        word: what the user typed.
        known: the names that exist.
        otherwise: the hint when none is similar; list the names in it.
        folder: where the names are files, the folder that they are in.

    Example:
        >>> str(suggest("deplyo", ["deploy", "undeploy", "stat"]))
        'Did you mean deploy?'
    """
    name = nearest(word, known)
    return _("Did you mean {name}?", name=folder / name if folder else name) if name else otherwise

"""All errors of the package, in one tree.

    ByzerError(message, hint)
      CommandError               the command is not valid
      ConfigError
        MissingKey               a required key or variable has no value
        MissingExtra             an optional package is not installed
        UnknownKind              no backend has that name
        BadParameter             a parameter is unknown or has a wrong value
      FetchError                 a model cannot be fetched from its hub
        NotFetched               it is not on this machine
      DeployError
        NameTaken                the alias is already deployed
        NotDeployed              the alias is not deployed
        NoRoom                   the cluster has too few CPUs or GPUs
        EngineFailed             a model could not be loaded
      RequestError
        Overloaded               the queue is full
        LimitReached             the deployment's limit of requests or tokens a minute
          BudgetSpent            the deployment's budget has nothing left
            PurseEmpty           the project's purse has too little left
        DeadlineExceeded         no response in time
        Cancelled                the user stopped it
        WorkerLost               the worker died during the request
        MalformedResponse        the response cannot be read
        Unsupported              the model lacks that capability
        ProviderError            the provider returned an error
          AuthenticationFailed   401, 403
          ModelNotFound          404
          BadRequest             400, 413, 422
            ContextTooLong       the prompt exceeds the context
            ContentRefused       a content filter blocked it
          RateLimited            429
          ProviderUnavailable    5xx, unreachable
          StreamTruncated        the stream ended without a finish reason
      ClusterError
        CannotConnect            Ray is unreachable or cannot be started
      JournalError               the journal cannot be used
        JournalOutOfReach        it is on another machine, which does not respond

The message is what happened, in one sentence; the hint is the next step. Both are lazy texts, so that an error raised
in one process is shown in the language of another: `to_wire` and `from_wire` carry it between a pool and its clients,
pickle carries it through Ray.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from byzer_magic.i18n import Text, join, lazy_gettext as _, localized, pack, unpack


class ByzerError(Exception):
    """Base class of all errors.

    Args:
        message: what happened, a lazy text.
        hint: the next step, a lazy text; may be empty.
        details: plain data for programs, such as `status` and `retry_after` (seconds) of a provider's error.

    Example:
        >>> error = NotDeployed("gpt4o is not deployed.", "See: list")
        >>> print(error)
        gpt4o is not deployed.
        See: list
        >>> error.code
        'NotDeployed'
    """

    partial: Any = None
    """The part of the result that there is, where it was collected."""

    def __init__(self, message: str, hint: str = "", /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    @property
    def code(self) -> str:
        """Return the name of the class, for programs."""
        return type(self).__name__

    @property
    def text(self) -> Text:
        """Return message and hint, one line each, as a lazy text; `str()` of the error is the same in English."""
        return join(self.message, self.hint, separator="\n")

    def localized(self) -> str:
        """Return message and hint in the active language."""
        return str(localized(self.text))

    def __str__(self) -> str:
        return str(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self).__name__, self.message, self.hint, self.details)


class CommandError(ByzerError):
    """The command is not valid."""


class ConfigError(ByzerError):
    """A setting is missing or wrong."""


class MissingKey(ConfigError):
    """A required key or `${NAME}` has no value."""


class MissingExtra(ConfigError):
    """An optional package is not installed."""


class UnknownKind(ConfigError):
    """No backend has that name."""


class BadParameter(ConfigError):
    """A parameter is unknown, or its value is not valid."""


class FetchError(ByzerError):
    """A model cannot be fetched from its hub."""


class NotFetched(FetchError):
    """A model in a hub is not on this machine; `details["model"]` has it as typed."""


class DeployError(ByzerError):
    """A deployment cannot be created, found or removed."""


class NameTaken(DeployError):
    """The alias is already deployed."""


class NotDeployed(DeployError):
    """The alias is not deployed."""


class NoRoom(DeployError):
    """The cluster has too few CPUs or GPUs for the deployment."""


class EngineFailed(DeployError):
    """A local engine could not load its model."""


class RequestError(ByzerError):
    """A request without a complete response."""


class Overloaded(RequestError):
    """All slots are taken and the queue is full."""


class LimitReached(RequestError):
    """A limit of the deployment is reached; `details` has limit, value, used and mostly retry_after (seconds)."""


class BudgetSpent(LimitReached):
    """The deployment's budget has nothing left for the request."""


class PurseEmpty(BudgetSpent):
    """The project's purse has too little left for the request, and nobody adds money."""


class DeadlineExceeded(RequestError):
    """No response within the timeout."""


class Cancelled(RequestError):
    """The user stopped the request."""


class WorkerLost(RequestError):
    """The worker died during the request."""


class MalformedResponse(RequestError):
    """The response, or the error in its place, cannot be read: from another version, or not of the type asked for."""


class Unsupported(RequestError):
    """The model lacks the capability that the request needs."""


class ProviderError(RequestError):
    """The provider returned an error; `details` may have status, request_id, retry_after (seconds)."""


class AuthenticationFailed(ProviderError):
    """The provider rejects the API key (401, 403)."""


class ModelNotFound(ProviderError):
    """The provider does not have the model (404)."""


class BadRequest(ProviderError):
    """The provider rejects the request (400, 413, 422)."""


class ContextTooLong(BadRequest):
    """The prompt exceeds the model's context."""


class ContentRefused(BadRequest):
    """A content filter blocked the prompt or the response."""


class RateLimited(ProviderError):
    """The rate limit is exceeded (429)."""


class ProviderUnavailable(ProviderError):
    """The provider failed (5xx) or is unreachable."""


class StreamTruncated(ProviderError):
    """The stream ended without a finish reason."""


class JournalError(ByzerError):
    """The journal cannot be read or written, or lacks what is to be replayed."""


class JournalOutOfReach(JournalError):
    """The project's journal and purse are on another machine, which does not respond: no request is sent without."""


class ClusterError(ByzerError):
    """Ray returned an error."""


class CannotConnect(ClusterError):
    """Ray is unreachable or cannot be started."""


def _all_kinds(base: type[ByzerError]) -> dict[str, type[ByzerError]]:
    kinds = {base.__name__: base}
    for kind in base.__subclasses__():
        kinds |= _all_kinds(kind)
    return kinds


KINDS = _all_kinds(ByzerError)


def _rebuild(code: str, message: str, hint: str, details: dict[str, Any]) -> ByzerError:
    return KINDS.get(code, ByzerError)(message, hint, **details)


def to_wire(error: ByzerError) -> dict[str, Any]:
    """Return an error as plain data for msgpack, with the templates and values of its texts."""
    message, hint = pack(error.message), pack(error.hint)
    details = {name: pack(value) for name, value in error.details.items()}
    return {"code": error.code, "message": message, "hint": hint, "details": details}


def from_wire(data: Any) -> ByzerError:
    """Return the error that `to_wire` encoded; an unknown code becomes a plain ByzerError.

    Whatever else has arrived becomes a `MalformedResponse`, which shows it.

    Example:
        >>> from_wire(to_wire(RateLimited("Rate limit exceeded (429).", retry_after=2.0))).details
        {'retry_after': 2.0}
        >>> from_wire({"code": 7}).code
        'MalformedResponse'
    """
    if isinstance(data, dict) and isinstance(message := unpack(data.get("message")), str):
        code, hint, details = data.get("code"), unpack(data.get("hint")), data.get("details")
        return _rebuild(
            code if isinstance(code, str) else "",
            message,
            hint if isinstance(hint, str) else "",
            {str(name): unpack(value) for name, value in details.items()} if isinstance(details, dict) else {},
        )
    return MalformedResponse(
        _("The error of the worker cannot be read: {data}", data=reprlib.repr(data)),
        _("See %byzer logs. If the deployment is older than this installation, deploy it again with --replace."),
    )


LONGEST_NAME = 300
"""Longer words and names are like no other."""


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

    if len(word) > LONGEST_NAME:  # the time to compare two texts grows with the product of their lengths
        return ""
    by_fold = {name.casefold(): name for name in known if len(name) <= LONGEST_NAME}
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
    name = nearest(word, [name for name in known if name != word])  # never the very word
    return _("Did you mean {name}?", name=folder / name if folder else name) if name else otherwise

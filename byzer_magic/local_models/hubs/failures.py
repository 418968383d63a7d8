"""Why a model cannot be fetched, in the same words for all hubs, whatever their packages raise."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from byzer_magic.errors import ByzerError, FetchError
from byzer_magic.i18n import Text, join, lazy_gettext as _
from byzer_magic.local_models.hubs.hub import HUBS, Hub
from byzer_magic.local_models.hubs.reference import Reference

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OF_DISK = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG)
"""Errors of files; those of connections are others."""
DEEPEST = 8
"""Errors of a chain that are looked at."""


def chain(err: BaseException | None) -> list[BaseException]:
    """Return an error and those that it came from, the first cause last; at most a few."""
    found: list[BaseException] = []
    while err is not None and len(found) < DEEPEST:
        found.append(err)
        err = err.__cause__ or err.__context__
    return found


def of_disk(err: BaseException) -> OSError | None:
    """Return the error of a file that an error came from; None where it came from none."""
    return next((one for one in chain(err) if isinstance(one, OSError) and one.errno in OF_DISK), None)


@contextmanager
def sorting(sort: Callable[[Exception, str], FetchError], file: str = "") -> Iterator[None]:
    """Turn the errors of a hub's package into ours while the block runs.

    Args:
        sort: returns the error in our words, given the package's, and the file.
        file: what is fetched; empty before that.
    """
    try:
        yield
    except ByzerError:
        raise
    except Exception as err:  # the package, and those below it, may raise anything
        raise sort(err, file) from err


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Makes the errors for one model.

    Args:
        reference: the model.
        environ: the environment's variables, in which mirrors and tokens are.
        folder: the cache.
    """

    reference: Reference
    environ: Mapping[str, str]
    folder: str

    @property
    def hub(self) -> Hub:
        """Return the model's hub."""
        return HUBS[self.reference.hub]

    @property
    def where(self) -> Text:
        """Return the hub with its address."""
        return _("{hub} ({url})", hub=self.hub.title, url=self.hub.address(self.environ))

    def missing(self, near: str = "", *, has_token: bool) -> FetchError:
        """Return the error for a repository that is not there, or that its owner keeps for others.

        Args:
            near: the name of one that may be meant.
            has_token: whether the request had a token.
        """
        message = _(
            "{hub} has no repository {repo}, or you have no access to it.", hub=self.where, repo=self.reference.repo
        )
        if near:
            return FetchError(message, _("Did you mean {name}?", name=f"{self.reference.hub}:{near}"))
        private = (
            _("If it is private, the token's account needs access to it.")
            if has_token
            else _("If it is private, set {variable}.", variable=self.hub.token)
        )
        return FetchError(message, join(_("Check the spelling."), private))

    def gated(self, *, has_token: bool) -> FetchError:
        """Return the error for a repository whose conditions have to be accepted first."""
        page = f"{self.hub.url}/{'models/' if self.reference.hub == 'ms' else ''}{self.reference.repo}"
        with_token = _("Accept them at {page} with the account of the token in {variable}.", page=page,
                       variable=self.hub.token)  # fmt: skip
        without = _("Accept them at {page}, and set {variable} to a token of that account.", page=page,
                    variable=self.hub.token)  # fmt: skip
        return FetchError(
            _("{repo} is gated: only accounts that have accepted its conditions can download it.",
              repo=self.reference.repo, hub=self.hub.title),
            with_token if has_token else without,
        )  # fmt: skip

    def no_revision(self) -> FetchError:
        """Return the error for a branch, tag or commit that is not there."""
        return FetchError(
            _("{repo} has no revision {revision}.", repo=self.reference.repo, revision=self.reference.revision),
            _("Leave out @{revision} to use the main branch.", revision=self.reference.revision),
        )

    def refused(self) -> FetchError:
        """Return the error for a token that is not accepted."""
        return FetchError(
            _("{hub} rejects the token.", hub=self.where),
            _("Check {variable}, or create a new token.", variable=self.hub.token),
        )

    def offline(self) -> FetchError:
        """Return the error where the user has forbidden to ask the hub."""
        return FetchError(
            _("{reference} is not on this machine, and {variable} is set.", reference=self.reference,
              variable=self.hub.offline),
            _("Unset {variable} to download it.", variable=self.hub.offline),
        )  # fmt: skip

    def unreachable(self, reason: str) -> FetchError:
        """Return the error for a hub that does not answer."""
        return FetchError(
            _("{hub} cannot be reached: {reason}.", hub=self.where, reason=reason),
            _("Check the connection and the proxy, or set {variable} to a mirror; the part downloaded so far is kept.",
              variable=self.hub.endpoint),
        )  # fmt: skip

    def busy(self, status: int) -> FetchError:
        """Return the error for a hub that answers, but with an error of its own."""
        return FetchError(
            _("{hub} answered with status {status}.", hub=self.where, status=status),
            _("Try again later; the part downloaded so far is kept."),
        )

    def stalled(self, seconds: float) -> FetchError:
        """Return the error for a hub that sends no more."""
        return FetchError(
            _("{hub} has sent no data for {seconds:g} s.", hub=self.where, seconds=seconds),
            _("Run the command again: it resumes where it stopped. A mirror may be faster ({variable}).",
              variable=self.hub.endpoint),
        )  # fmt: skip

    def broken_off(self, file: str, reason: str) -> FetchError:
        """Return the error for a connection that broke again and again."""
        return FetchError(
            _("The connection to {hub} broke while {file} was being downloaded: {reason}.", hub=self.where, file=file,
              reason=reason),
            _("Run the command again: it resumes where it stopped."),
        )  # fmt: skip

    def wrong_size(self, file: str, reason: str = "") -> FetchError:
        """Return the error for a file of another size than the hub's list has."""
        return FetchError(
            join(_("{file} does not have the size that {hub} lists.", file=file, hub=self.where), reason),
            _("Run the command again; if a mirror is set, try another one ({variable}).", variable=self.hub.endpoint),
        )

    def wrong_checksum(self, file: str) -> FetchError:
        """Return the error for a file with another content than the hub's list has; it has been removed."""
        return FetchError(
            _("{file} is damaged: its checksum is not the one that {hub} lists.", file=file,
              hub=self.where),
            _("It was removed; run the command again. If a mirror is set, try another one ({variable}).",
              variable=self.hub.endpoint),
        )  # fmt: skip

    def not_written(self, err: OSError) -> FetchError:
        """Return the error for a file that cannot be written."""
        reason = err.strerror or str(err)
        if err.errno in FULL:
            return FetchError(
                _("The disk of {folder} is full, or a limit has been reached: {reason}.", folder=self.folder,
                  reason=reason),
                _("Free some space (%byzer models lists the models on this machine, models rm removes them), or set"
                  " {variable} to a folder on a larger disk; the part downloaded so far is kept.",
                  variable=self.hub.home),
            )  # fmt: skip
        return FetchError(
            _("{path} cannot be written: {reason}.", path=err.filename or self.folder, reason=reason),
            _("Check its permissions, or set {variable} to a folder of your own.", variable=self.hub.home),
        )

    def other(self, err: BaseException) -> FetchError:
        """Return the error for whatever else a package raises."""
        text = " ".join(str(err).split())[:500]
        return FetchError(
            _("{reference} could not be downloaded: {reason}.", reference=self.reference,
              reason=f"{type(err).__name__}: {text}".rstrip(".: ")),
            _("Run the command again; the part downloaded so far is kept."),
        )  # fmt: skip

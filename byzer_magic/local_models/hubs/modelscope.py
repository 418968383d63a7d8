"""Fetching from ModelScope, with its own package; runs in a process of its own (see `child`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from byzer_magic.errors import FetchError
from byzer_magic.local_models.hubs import cache, failures
from byzer_magic.local_models.hubs.choice import File
from byzer_magic.local_models.hubs.failures import Failures

TYPE = "model"


class ModelScope:
    """One repository.

    Args:
        made: makes the errors; it has the reference.
        folder: the cache.
    """

    def __init__(self, made: Failures, folder: Path) -> None:
        import modelscope_hub

        config = modelscope_hub.HubConfig(cache_dir=folder)
        self._has_token = bool(config.token)
        self._api = modelscope_hub.HubApi(config=config)
        self._failures = made
        self._folder = folder
        self._repo = made.reference.repo
        self.revision = made.reference.revision or made.hub.main
        new = cache.repository(made.reference, made.environ) / "snapshots" / self.revision
        self.path = next(cache.older(made.reference, made.environ), new)
        """The folder in which the files will be."""

    def files(self) -> list[File]:
        """Ask for the list of all files.

        Raises:
            FetchError: there is no such repository, or it cannot be asked.
        """
        with failures.sorting(self.sorted):
            found = self._api.list_repo_files(self._repo, TYPE, revision=self.revision)
        return [
            File(path=item.path, size=item.size, sha256=item.sha256 or "")
            for item in found
            if (item.type or "blob") != "tree"
        ]

    def size_of(self, file: File) -> int:
        """Return how many bytes of a file are there: it is fetched in parts, which are then put together."""
        path = self.path / file.path
        if path.is_file():
            return min(path.stat().st_size, file.size)
        part = re.compile(re.escape(path.name) + r"(?:\.incomplete|\.parallel_tmp|_\d+_\d+)")
        try:
            there = sum(item.stat().st_size for item in path.parent.iterdir() if part.fullmatch(item.name))
        except OSError:
            return 0
        return min(there, file.size)

    def fetch(self, file: File, _checking: Callable[[], None]) -> None:
        """Fetch a file, going on where an earlier run stopped; its size and checksum are compared.

        Raises:
            FetchError: it cannot be fetched, or is damaged.
        """
        with failures.sorting(self.sorted, file.path):
            self._api.download_file(
                self._repo,
                TYPE,
                file.path,
                revision=self.revision,
                cache_dir=self._folder,
                expected_sha256=file.sha256 or None,
                file_size=file.size,
            )

    def done(self, files: list[File]) -> None:
        """Do nothing: the cache has no branches."""

    def has_token(self) -> bool:
        """Return whether requests have a token."""
        return self._has_token

    def sorted(self, err: Exception, file: str) -> FetchError:
        """Return the error of the package in our words.

        Args:
            err: what it raised.
            file: what was fetched; empty before that.
        """
        from modelscope_hub import errors as theirs

        mine = self._failures
        if written := failures.of_disk(err):
            return mine.not_written(written)
        match err:
            case theirs.FileSizeMismatchError():
                return mine.wrong_size(file)
            case theirs.FileIntegrityError():
                return mine.wrong_checksum(file)
            case theirs.AuthenticationError():
                return mine.refused() if self.has_token() else mine.missing(has_token=False)
            case theirs.PermissionDeniedError():
                return mine.gated(has_token=self.has_token())
            case theirs.NotExistError():
                named = mine.reference.revision and "revision" in str(err).lower()
                return mine.no_revision() if named else mine.missing(has_token=self.has_token())
            case theirs.NetworkError() if file:
                return mine.broken_off(file, _reason(err))
            case theirs.NetworkError():
                return mine.unreachable(_reason(err))
            case theirs.APIError(status_code=int(status)):
                return mine.busy(status)
        return mine.other(err)


def _reason(err: Exception) -> str:
    """Return what a connection failed of: the first cause, since the package has its words in one language only."""
    first = failures.chain(err)[-1]
    text = " ".join(str(first).split())[:300].rstrip(".")
    return text if text and text.isascii() else type(first).__name__

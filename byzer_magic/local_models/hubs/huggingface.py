"""Fetching from Hugging Face, with its own package; runs in a process of its own (see `child`).

The package asks the hub and keeps the cache. It does not go on with a file of an interrupted run
(https://github.com/huggingface/huggingface_hub/pull/4228), and compares no checksums: we have it write to the name that
an incomplete file had in its cache before that, and hand the complete file over to the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from byzer_magic.errors import FetchError, nearest
from byzer_magic.local_models.hubs import cache, failures
from byzer_magic.local_models.hubs.choice import File
from byzer_magic.local_models.hubs.failures import Failures

CHUNK_BYTES = 1 << 20
"""How much is read before it is written: what is lost when the process is killed."""
SEARCHED = 5


class HuggingFace:
    """One repository.

    Args:
        made: makes the errors; it has the reference.
        folder: the cache.
    """

    def __init__(self, made: Failures, folder: Path) -> None:
        import huggingface_hub
        from huggingface_hub import constants

        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        self._api = huggingface_hub.HfApi(library_name="byzer-magic")
        self._failures = made
        self._folder = folder
        self._repo = made.reference.repo
        self._top = cache.repository(made.reference, made.environ)
        self.revision = ""
        """The commit, once the files were listed."""
        self.path = self._top
        """The folder in which the files will be."""

    def files(self) -> list[File]:
        """Ask for the list of all files.

        Raises:
            FetchError: there is no such repository, or it cannot be asked.
        """
        from huggingface_hub import RepoFile

        wanted = self._failures.reference.revision or None
        with failures.sorting(self.sorted):
            self.revision = str(self._api.model_info(self._repo, revision=wanted).sha)
            self.path = self._top / "snapshots" / self.revision
            return [
                File(path=item.path, size=item.size, sha256=item.lfs.sha256 if item.lfs else "", blob=item.blob_id)
                for item in self._api.list_repo_tree(self._repo, revision=self.revision, recursive=True)
                if isinstance(item, RepoFile)
            ]

    def size_of(self, file: File) -> int:
        """Return how many bytes of a file are there."""
        blob = self._blob(file)
        for path in (self.path / file.path, blob, _incomplete(blob)):
            try:
                return min(path.stat().st_size, file.size)
            except OSError:
                continue
        return 0

    def fetch(self, file: File, checking: Callable[[], None]) -> None:
        """Fetch a file, going on where an earlier run stopped.

        Args:
            file: of `files`.
            checking: called when all is there, before its checksum is computed.

        Raises:
            FetchError: it cannot be fetched, or is damaged.
        """
        from huggingface_hub import constants, hf_hub_download

        with failures.sorting(self.sorted, file.path):
            large = 0 < file.size <= constants.MAX_HTTP_DOWNLOAD_SIZE  # larger ones come by another protocol
            if file.sha256 and large and not (self.path / file.path).exists():
                self._resume(file, checking)
            hf_hub_download(self._repo, file.path, revision=self.revision, cache_dir=self._folder)

    def done(self, files: list[File]) -> None:
        """Note that a branch or tag is at the commit whose files are all there now.

        Until then, the cache has the one before, complete.
        """
        from huggingface_hub import hf_hub_download

        smallest = min(files, key=lambda file: file.size)
        branch = self._failures.reference.revision or "main"
        if branch != self.revision:
            with failures.sorting(self.sorted, smallest.path):
                hf_hub_download(self._repo, smallest.path, revision=branch, cache_dir=self._folder)

    def _blob(self, file: File) -> Path:
        return self._top / "blobs" / (file.sha256 or file.blob)

    def _resume(self, file: File, checking: Callable[[], None]) -> None:
        """Fetch what of a file is missing, under the lock and the names of the package's cache."""
        from filelock import FileLock
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        found = get_hf_file_metadata(hf_hub_url(self._repo, file.path, revision=self.revision))
        if found.size is not None and found.size != file.size:
            raise self._failures.wrong_size(file.path)
        blob = self._blob(file)
        if found.etag != blob.name:  # a mirror with names of its own
            return
        lock = self._folder / ".locks" / self._top.name / f"{blob.name}.lock"
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not blob.exists():
                self._get(file, found.location, _incomplete(blob))
                checking()
                with _incomplete(blob).open("rb") as content:
                    same = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
                if not same:
                    _incomplete(blob).unlink()
                    raise self._failures.wrong_checksum(file.path)
                _incomplete(blob).replace(blob)

    def _get(self, file: File, url: str, part: Path) -> None:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented there

        headers = build_hf_headers(library_name="byzer-magic")
        if urlsplit(url).netloc != urlsplit(self._api.endpoint).netloc:
            headers.pop("authorization", None)  # another host; the link is signed
        with part.open("ab") as stream:
            there = stream.tell()
            if there > file.size:
                stream.truncate(there := 0)
                stream.seek(0)
            http_get(url, stream, resume_size=there, headers=headers, expected_size=file.size)

    # ---- errors

    def has_token(self) -> bool:
        """Return whether requests have a token."""
        from huggingface_hub import get_token

        return bool(get_token())

    def near(self) -> str:
        """Return the repository whose name is most similar; empty where there is none, or the hub has no search."""
        word = self._repo.rpartition("/")[2]
        try:
            found = [model.id for model in self._api.list_models(search=word, limit=SEARCHED)]
        except Exception:  # noqa: BLE001 - a mirror need not have a search, and the hint is not worth another error
            return ""
        others = [name for name in found if name != self._repo]
        same = (name for name in others if name.rpartition("/")[2].lower() == word.lower())
        return next(same, "") or nearest(self._repo, others)

    def sorted(self, err: Exception, file: str) -> FetchError:
        """Return the error of the package in our words.

        Args:
            err: what it raised.
            file: what was fetched; empty before that.
        """
        from huggingface_hub import errors as theirs

        mine = self._failures
        if isinstance(err, theirs.GatedRepoError):
            return mine.gated(has_token=self.has_token())
        if isinstance(err, theirs.RevisionNotFoundError):
            return mine.no_revision()
        if isinstance(err, theirs.OfflineModeIsEnabled):
            return mine.offline()
        if isinstance(err, theirs.RepositoryNotFoundError):
            return mine.missing(self.near(), has_token=self.has_token())
        if isinstance(err, theirs.HfHubHTTPError):
            return self._by_status(err)
        return self._by_kind(err, file)

    def _by_status(self, err: Any) -> FetchError:
        status = getattr(err.response, "status_code", 0)
        if status in (401, 403):
            return self._failures.refused() if self.has_token() else self._failures.missing(has_token=False)
        return self._failures.busy(status)

    def _by_kind(self, err: Exception, file: str) -> FetchError:
        from huggingface_hub import errors as theirs

        mine = self._failures
        chain = failures.chain(err)
        if "Consistency check failed" in str(err):
            return mine.wrong_size(file)
        if written := failures.of_disk(err):
            return mine.not_written(written)
        if any(type(one).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")) for one in chain):
            last = chain[-1]
            reason = str(last).rstrip(".") or type(last).__name__
            return mine.broken_off(file, reason) if file else mine.unreachable(reason)
        if isinstance(err, theirs.LocalEntryNotFoundError):
            return mine.unreachable(" ".join(str(err).split())[:300].rstrip("."))
        return mine.other(err)


def _incomplete(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")

"""Whole objects in a folder or a bucket: put, get, list, delete, with the archive's errors.

Belongs here: everything that differs between `file://` and `s3://`. Does not belong here: what the objects mean.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from resources.archive.base import ArchiveError, ArchiveUnavailableError

_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """One object of a listing. `tag` changes whenever the object is replaced."""

    path: str
    bytes: int
    tag: str
    modified: datetime


class Objects:
    """Objects below one URL. Paths are relative, with `/`. Missing objects raise FileNotFoundError."""

    def __init__(self, url: str, store: LocalStore | S3Store, folder: Path | None) -> None:
        self.url = url
        self._store = store
        self._folder = folder

    def put(self, path: str, data: bytes | Path) -> None:
        """Write the object whole or not at all; durable on return."""
        with self._errors(path):
            if self._folder:
                _make_durably((self._folder / path).parent)
            obstore.put(self._store, path, data)
            if self._folder:
                _sync(self._folder / path)
                _sync((self._folder / path).parent)

    def get(self, path: str) -> bytes:
        with self._errors(path):
            return bytes(obstore.get(self._store, path).bytes())

    def sha256(self, path: str) -> str:
        """Of the object's bytes, read in chunks."""
        digest = hashlib.sha256()
        with self._errors(path):
            for chunk in obstore.get(self._store, path).stream(min_chunk_size=_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def size(self, path: str) -> int:
        with self._errors(path):
            return int(obstore.head(self._store, path)["size"])

    def listing(self, prefix: str) -> list[Found]:
        with self._errors(prefix):
            pages = obstore.list(self._store, prefix)
            return [
                Found(meta["path"], meta["size"], meta["e_tag"] or str(meta["last_modified"]), meta["last_modified"])
                for page in pages
                for meta in page
            ]

    def delete(self, path: str) -> None:
        """No error when it is gone already."""
        try:
            with self._errors(path):
                obstore.delete(self._store, path)
        except FileNotFoundError:
            return

    def ping(self) -> None:
        if self._folder and not os.access(self._folder, os.W_OK | os.X_OK):
            raise ArchiveUnavailableError(f"archive {self._folder}: not a folder that can be written to")
        self.listing("ping")

    def where(self, path: str) -> str:
        """The object's full name, for messages and for polars to scan."""
        return str(self._folder / path) if self._folder else f"{self.url.rstrip('/')}/{path}"

    def storage_options(self) -> dict[str, str] | None:
        """What polars needs beside the `AWS_*` environment to scan the same objects."""
        return None if self._folder else {"aws_allow_http": str(_plain_http()).lower()}

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(self.where(path)) from error
        except (BaseError, OSError) as error:
            cause = str(error).split("\n\n", 1)[0]  # what follows is obstore's debug dump
            raise ArchiveUnavailableError(f"archive {self.where(path)}: {cause}") from error


def open_objects(url: str) -> Objects:
    """Raises ArchiveError for a URL that is neither `file:///folder` nor `s3://bucket[/prefix]`."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        folder = Path(unquote(parts.path))
        try:
            return Objects(url, LocalStore(folder, mkdir=True), folder)
        except OSError as error:
            raise ArchiveUnavailableError(f"archive {folder}: {error}") from error
    if parts.scheme == "s3" and parts.netloc:
        store = S3Store(
            parts.netloc, prefix=parts.path.strip("/") or None, client_options={"allow_http": _plain_http()}
        )
        return Objects(url, store, None)
    raise ArchiveError(f"{url!r} is no archive: use file:///absolute/folder or s3://bucket/prefix")


def _plain_http() -> bool:
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def _make_durably(folder: Path) -> None:
    """Make the folder and those above it; their names survive a loss of power."""
    if not folder.exists():
        _make_durably(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

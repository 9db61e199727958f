"""Immutable Parquet parts of the raw events, by ingest hour, each with a manifest that proves it.

Belongs here: choosing an archive by URL. Does not belong here: how parts are kept (`object_archive`).
"""

from __future__ import annotations

from resources.archive.base import (
    Archive,
    ArchiveCorruptError,
    ArchiveError,
    ArchiveOverlapError,
    ArchivePart,
    ArchiveUnavailableError,
)


def open_archive(url: str) -> Archive:
    """Return the archive at `url`: `file:///absolute/folder` or `s3://bucket/prefix`. Raises ArchiveError for others.

    S3's endpoint, region and keys come from the standard `AWS_*` environment variables; plain HTTP is allowed exactly
    when `AWS_ENDPOINT_URL` says `http://`.
    """
    from resources.archive.object_archive import ObjectArchive
    from resources.archive.objects import open_objects

    return ObjectArchive(url, open_objects(url))


__all__ = [
    "Archive",
    "ArchiveCorruptError",
    "ArchiveError",
    "ArchiveOverlapError",
    "ArchivePart",
    "ArchiveUnavailableError",
    "open_archive",
]

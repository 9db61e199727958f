"""The archive over any object store: writing, finding, reading, verifying and compacting parts.

Belongs here: the order of steps that keeps the archive whole when a process dies between any two of them. Does not
belong here: the object store's protocol (`objects`), the manifest's format (`manifest`).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import polars as pl

from contracts.envelope import POSITION_SCHEMA, STORED_SCHEMA
from resources.archive import liveness, manifest
from resources.archive import ranges as rng
from resources.archive.base import (
    ArchiveCorruptError,
    ArchiveError,
    ArchiveOverlapError,
    ArchivePart,
)
from resources.archive.objects import Found, Objects
from resources.crashpoints import crashpoint
from resources.raw_store.base import PositionRange, position_id

POSITION = tuple(POSITION_SCHEMA)
ROW_GROUP = 100_000
_RELIST = 5
_REQUESTS = 16  # at a time: an object store's answers take milliseconds each


class ObjectArchive:
    """See `resources.archive.base.Archive`.

    `keep_replaced`: how long a replaced part stays for readers that hold it; `keep_orphans`: how long an object without
    a manifest may be one that is being written right now.
    """

    def __init__(
        self,
        url: str,
        objects: Objects,
        keep_replaced: timedelta = timedelta(minutes=10),
        keep_orphans: timedelta = timedelta(days=1),
    ) -> None:
        self.url = url
        self._objects = objects
        self._keep_replaced = keep_replaced
        self._keep_orphans = keep_orphans
        # By path, with the tag it was read under. Plain dict operations are atomic; a lost update costs one request.
        self._manifests: dict[str, tuple[str, ArchivePart]] = {}

    def write_part(self, ingest_hour: datetime, events: pl.DataFrame, ranges: Sequence[PositionRange]) -> ArchivePart:
        place = manifest.folder(ingest_hour)
        wanted = rng.joined(ranges)
        if not wanted:
            raise ArchiveError(f"{place}: a part needs at least one position, not {list(ranges)!r}")
        events = _checked(events, wanted, place)
        live = self.parts(ingest_hour)
        for part in live:
            if part.ranges != wanted and rng.covers(part.ranges, wanted):
                return self._covering(part, wanted, events.height)
            shared = rng.common(part.ranges, wanted)
            if shared and rng.size(shared) < rng.size(part.ranges):
                raise ArchiveOverlapError(
                    f"{place}: a part of {rng.text(wanted)} would cut through {part.path}, which holds"
                    f" {rng.text(shared)} of it and {rng.text(rng.without(part.ranges, shared))} beside it"
                )
        buffer = BytesIO()
        events.write_parquet(buffer, compression="zstd", statistics=True, row_group_size=ROW_GROUP)
        data = buffer.getvalue()
        part = ArchivePart(
            path="",
            ingest_hour=ingest_hour.astimezone(UTC),
            ranges=wanted,
            rows=events.height,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            contents=manifest.contents(events.lazy()),
        )
        return self._publish(part, data, [old for old in live if rng.covers(wanted, old.ranges)])

    def _covering(self, part: ArchivePart, wanted: tuple[PositionRange, ...], rows: int) -> ArchivePart:
        """A repeat after a compaction: there is nothing to write if the part holds as many rows of these ranges."""
        held = int(self.read([part]).filter(rng.within(wanted)).select(pl.len()).collect().item())
        if held != rows:
            raise ArchiveError(
                f"{part.path} covers {rng.text(wanted)} with {held} rows, not {rows}; write the whole part"
                f" ({rng.text(part.ranges)}) again to change it"
            )
        return part

    def _publish(self, part: ArchivePart, data: bytes | Path, replaced: Sequence[ArchivePart]) -> ArchivePart:
        """Object, then manifest: from that instant the new part is live and those it covers are not."""
        path = manifest.object_path(part.ingest_hour, part.ranges, part.sha256)
        gone = {old.path for old in replaced}
        gone.update(*(old.replaces for old in replaced if old.ranges == part.ranges))
        part = replace(part, path=path, replaces=tuple(sorted(gone - {path})))
        self._objects.put(path, data)
        crashpoint("archive.object_written")
        self._objects.put(manifest.manifest_path(part), manifest.to_json(part))
        crashpoint("archive.manifest_written")
        return part

    def parts(self, ingest_hour: datetime | None = None) -> list[ArchivePart]:
        prefix = manifest.ROOT if ingest_hour is None else manifest.folder(ingest_hour)
        live = liveness.live(self._load(self._objects.listing(prefix), prefix))
        return sorted(live, key=lambda part: (part.ingest_hour, part.path))

    def _load(self, listing: Sequence[Found], prefix: str) -> list[ArchivePart]:
        for _ in range(_RELIST):
            manifests = [found for found in listing if found.path.endswith(".json")]
            unknown = [found for found in manifests if self._manifests.get(found.path, ("",))[0] != found.tag]
            with ThreadPoolExecutor(_REQUESTS) as pool:
                fetched = dict(zip((found.path for found in unknown), pool.map(self._fetch, unknown), strict=True))
            if None not in fetched.values():
                return [fetched.get(found.path) or self._manifests[found.path][1] for found in manifests]
            # One was replaced and swept since it was listed; the listing may be older than what replaced it.
            listing = self._objects.listing(prefix)
        raise ArchiveError(f"{self._objects.where(prefix)}: manifests vanish faster than they can be listed")

    def _fetch(self, found: Found) -> ArchivePart | None:
        try:
            part = manifest.from_json(self._objects.get(found.path), self._objects.where(found.path))
        except FileNotFoundError:
            return None
        self._manifests[found.path] = (found.tag, part)
        return part

    def read(
        self,
        parts: Sequence[ArchivePart],
        event_hours: tuple[datetime, datetime] | None = None,
        network: str | None = None,
    ) -> pl.LazyFrame:
        taken = liveness.taken_before(parts)
        wanted = [
            (part, skip)
            for part, skip in zip(parts, taken, strict=True)
            if manifest.may_hold(part, event_hours, network)
        ]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            list(pool.map(self._check_length, (part for part, _ in wanted)))
        whole = [part for part, skip in wanted if not skip]
        frames = [self._scan(whole)] if whole else []
        frames += [self._scan([part]).filter(~rng.within(skip)) for part, skip in wanted if skip]
        events = pl.concat(frames) if frames else pl.LazyFrame(schema=STORED_SCHEMA)
        if event_hours is not None:
            start, end = event_hours
            events = events.filter((pl.col("event_time") >= start) & (pl.col("event_time") < end))
        if network is not None:
            events = events.filter(pl.col("network") == network)
        return events

    def _scan(self, parts: Sequence[ArchivePart]) -> pl.LazyFrame:
        return pl.scan_parquet(
            [self._objects.where(part.path) for part in parts],
            glob=False,
            hive_partitioning=False,
            storage_options=self._objects.storage_options(),
        )

    def _check_length(self, part: ArchivePart) -> None:
        try:
            length = self._objects.size(part.path)
        except FileNotFoundError as error:
            raise ArchiveCorruptError(f"{error}: the object of a part is gone") from error
        if length != part.bytes:
            where = self._objects.where(part.path)
            raise ArchiveCorruptError(f"{where}: {length} bytes long; its manifest says {part.bytes}")

    def verify(self, part: ArchivePart) -> None:
        self._check_length(part)
        where = self._objects.where(part.path)
        sha256 = self._objects.sha256(part.path)
        if sha256 != part.sha256:
            raise ArchiveCorruptError(f"{where}: SHA-256 {sha256}; its manifest says {part.sha256}")
        try:
            rows = int(self._scan([part]).select(pl.len()).collect().item())
        except pl.exceptions.PolarsError as error:
            raise ArchiveCorruptError(f"{where}: not a Parquet file: {error}") from error
        if rows != part.rows:
            raise ArchiveCorruptError(f"{where}: {rows} rows; its manifest says {part.rows}")

    def inspect(self) -> tuple[list[ArchivePart], dict[str, str]]:
        readable: list[ArchivePart] = []
        unreadable: dict[str, str] = {}
        for found in self._objects.listing(manifest.ROOT):
            if not found.path.endswith(".json"):
                continue
            try:
                readable += [part for part in [self._known(found)] if part is not None]
            except ArchiveCorruptError as error:
                unreadable[found.path] = str(error)
        live = liveness.live(readable)
        return sorted(live, key=lambda part: (part.ingest_hour, part.path)), unreadable

    def _known(self, found: Found) -> ArchivePart | None:
        tag, part = self._manifests.get(found.path, ("", None))
        return part if part is not None and tag == found.tag else self._fetch(found)

    def salvage(self, part: ArchivePart) -> pl.LazyFrame:
        return self._scan([part])

    def discard(self, path: str) -> None:
        for found in self._objects.listing(path.rpartition("/")[0]):
            if found.path != path:
                continue
            try:
                self._fetch(found)
            except ArchiveCorruptError:
                self._objects.delete(path)
                return
            raise ArchiveError(f"{self._objects.where(path)} can be read, so it is not thrown away")

    def compact(self, ingest_hour: datetime) -> ArchivePart | None:
        live = self.parts(ingest_hour)
        merged = self._merge(ingest_hour, live) if len(live) > 1 else None
        self._sweep(manifest.folder(ingest_hour))
        return merged

    def _merge(self, ingest_hour: datetime, live: Sequence[ArchivePart]) -> ArchivePart:
        for part in live:
            self.verify(part)
        with tempfile.TemporaryDirectory(prefix="tally-compact-") as folder:
            file = Path(folder) / "part.parquet"
            self._in_order(live).sink_parquet(
                file, compression="zstd", statistics=True, row_group_size=ROW_GROUP, maintain_order=True
            )
            with file.open("rb") as source:
                sha256 = hashlib.file_digest(source, "sha256").hexdigest()
            merged = pl.scan_parquet(file, glob=False, hive_partitioning=False)
            part = ArchivePart(
                path="",
                ingest_hour=ingest_hour.astimezone(UTC),
                ranges=rng.joined(r for old in live for r in old.ranges),
                rows=int(merged.select(pl.len()).collect().item()),
                bytes=file.stat().st_size,
                sha256=sha256,
                contents=manifest.contents(merged),
            )
            return self._publish(part, file, live)

    def _in_order(self, live: Sequence[ArchivePart]) -> pl.LazyFrame:
        """Rows by position without sorting them: each part is sorted, so its ranges are pieces to be laid in order."""
        runs = liveness.runs([part for part in live if part.rows])
        frames = [self._scan(parts).filter(rng.within(ranges)) for ranges, parts in runs]
        return pl.concat(frames) if frames else pl.LazyFrame(schema=STORED_SCHEMA)

    def sweep(self) -> int:
        return self._sweep(manifest.ROOT)

    def _sweep(self, prefix: str) -> int:
        """Delete manifests first: a crash then leaves orphan objects and never a manifest without its object."""
        listing = self._objects.listing(prefix)
        parts = self._load(listing, prefix)
        over = liveness.coverers(parts)
        written = {found.path: found.modified for found in listing}
        now = datetime.now(UTC)

        def replaced_long_ago(by: ArchivePart) -> bool:
            # A manifest younger than the listing has no time here: it is too young in any case.
            return now - written.get(manifest.manifest_path(by), now) >= self._keep_replaced

        dead = [part for part in parts if any(replaced_long_ago(by) for by in over.get(part.path, ()))]
        for part in dead:
            self._objects.delete(manifest.manifest_path(part))
            crashpoint("archive.manifest_deleted")
        kept = [part for part in parts if part not in dead]
        named = {part.path for part in kept}
        replaced = {path for part in kept if replaced_long_ago(part) for path in part.replaces}
        orphans = [
            found.path
            for found in listing
            if found.path.endswith(".parquet")
            and found.path not in named
            and (found.path in replaced or now - found.modified >= self._keep_orphans)
        ]
        for path in orphans:
            self._objects.delete(path)
            crashpoint("archive.object_deleted")
        return len(orphans)

    def ping(self) -> None:
        self._objects.ping()


def _checked(events: pl.DataFrame, ranges: Sequence[PositionRange], place: str) -> pl.DataFrame:
    """Events in the schema's order, sorted by position. Raises ArchiveError for rows that do not belong in the part."""
    wrong = [
        f"{name} is {events.schema.get(name, 'missing')}"
        for name in STORED_SCHEMA
        if events.schema.get(name) != STORED_SCHEMA[name]
    ]
    if wrong:
        raise ArchiveError(f"{place}: events of another shape: {'; '.join(wrong)}")
    events = events.select(*STORED_SCHEMA).sort(POSITION)
    for topic, partition, offset in events.filter(~rng.within(ranges)).select(POSITION).head(1).iter_rows():
        raise ArchiveError(f"{place}: {position_id(topic, partition, offset)} is outside {rng.text(ranges)}")
    twice = events.select(POSITION).filter(pl.struct(POSITION) == pl.struct(POSITION).shift())
    for topic, partition, offset in twice.head(1).iter_rows():
        raise ArchiveError(f"{place}: {position_id(topic, partition, offset)} is there twice")
    return events

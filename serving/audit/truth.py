"""What should be at each log position: decoded from the log while it keeps the message, else from the archive.

Belongs here: reading the truth of some ranges. Does not belong here: comparing a store with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from contracts.envelope import STORED_SCHEMA
from resources.archive.base import ArchiveCorruptError, ArchivePart
from resources.archive.ranges import common, joined, within, without
from resources.event_log.base import OffsetRange
from resources.raw_store.base import PositionRange
from serving.audit.stores import AuditStores, Reach


@dataclass(frozen=True, slots=True)
class Truth:
    """`events` (STORED_SCHEMA) and `rejects` (STORED_REJECT_SCHEMA) of `ranges`.

    `decoded`: the part that was read from the log; verdicts other than stored are known of it alone. The events of the
    rest come from whole archive parts. `unknown`: ranges of which nobody can say what they held.
    """

    ranges: tuple[PositionRange, ...]
    events: pl.DataFrame
    rejects: pl.DataFrame
    decoded: tuple[PositionRange, ...]
    unknown: tuple[PositionRange, ...]


def read_truth(
    stores: AuditStores,
    reach: Reach,
    ranges: Sequence[PositionRange],
    parts: Sequence[ArchivePart],
    broken: Collection[str],
) -> Truth:
    """Read what the ranges should hold. `parts`: live archive parts; `broken`: paths whose bytes prove nothing."""
    wanted = joined(ranges)
    decoded = reach.kept(wanted)
    messages = list(stores.log.read([OffsetRange(*where) for where in reach.readable(wanted)]))
    events, rejects = stores.decode(messages)
    older = without(wanted, decoded)
    if not older:
        return Truth(wanted, events, rejects, decoded, ())
    whole = [part for part in parts if part.path not in broken and common(part.ranges, older)]
    proven = common(older, joined(where for part in whole for where in part.ranges))
    kept = archived_rows(stores, whole, proven)
    return Truth(wanted, pl.concat([events, kept]), rejects, decoded, without(older, proven))


def archived_rows(stores: AuditStores, parts: Sequence[ArchivePart], ranges: Sequence[PositionRange]) -> pl.DataFrame:
    """Rows (STORED_SCHEMA) of whole parts inside the ranges. Raises ArchiveCorruptError when a part is not whole."""
    mine = [part for part in parts if part.rows and common(part.ranges, ranges)]
    if not mine:
        return pl.DataFrame(schema=STORED_SCHEMA)
    try:
        return stores.archive.read(mine).filter(within(ranges)).select(list(STORED_SCHEMA)).collect()
    except pl.exceptions.PolarsError as error:
        raise ArchiveCorruptError(f"{mine[0].path} and {len(mine) - 1} other parts: {error}") from error

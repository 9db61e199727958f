"""The ground truth of a simulation: what was sent, and what every number must be.

Belongs here: recording and counting clean events with plain polars, independent of the platform. Does not
belong here: the platform's own code, or the comparison (tests and `tally verify` do that).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import polars as pl

from streaming.simulator.activity import CLEAN_SCHEMA
from streaming.simulator.faults import Delivery


@dataclass
class Truth:
    """Collects deliveries; `save` writes `events.parquet`, `hourly.csv` and `summary.json` into a folder.

    `start` and `end` bound the time that was simulated, `[start, end)`; rows that are late occurred up to hours before.
    """

    start: datetime | None = None
    end: datetime | None = None
    frames: list[pl.DataFrame] = field(default_factory=list)
    sent: int = 0
    duplicates: int = 0
    broken: dict[str, int] = field(default_factory=dict)

    def add(self, delivery: Delivery) -> None:
        self.frames.append(delivery.clean)
        self.sent += len(delivery.rows)
        self.duplicates += delivery.duplicates
        for kind, rows in delivery.broken.items():
            self.broken[kind] = self.broken.get(kind, 0) + rows

    @property
    def events(self) -> pl.DataFrame:
        return pl.concat(self.frames) if self.frames else pl.DataFrame(schema=CLEAN_SCHEMA)

    def hourly(self) -> pl.DataFrame:
        """Columns: hour (UTC start), type, events, actors (distinct)."""
        hour = pl.col("occurred_at").dt.truncate("1h").alias("hour")
        return (
            self.events.group_by(hour, "type")
            .agg(events=pl.len().cast(pl.UInt64), actors=pl.col("actor").n_unique().cast(pl.UInt64))
            .sort("hour", "type")
        )

    def top(self, column: str, limit: int = 10) -> pl.DataFrame:
        """The members of `object`, `campaign` or `topics` with the most events; ties by name."""
        return (
            self.events.select(pl.col(column).explode() if column == "topics" else pl.col(column))
            .drop_nulls()
            .filter(pl.col(column) != "")
            .group_by(column)
            .agg(events=pl.len().cast(pl.UInt64))
            .sort("events", column, descending=[True, False])
            .head(limit)
        )

    def earned(self) -> dict[str, int]:
        """Revenue of conversions (minor units) by the campaign that earned them, and `unattributed`.

        A campaign is an advertiser of its own here, so it earned what its clicks of the 7 days before led to, whatever
        the model. Clicks count that a person made: not within 2 s of the one before, nor 0.3 s of the impression.
        """
        kept = pl.col("type").is_in(["ad.impression", "ad.clicked", "ad.converted"])
        clicked: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        last: dict[tuple[str, str, str], datetime] = {}
        earned: dict[str, int] = defaultdict(int)
        for row in self.events.filter(kept).sort("occurred_at", "event_id").iter_rows(named=True):
            at, kind, person, ad, campaign = (row[k] for k in ("occurred_at", "type", "actor", "object", "campaign"))
            if kind == "ad.clicked":
                again = (before := last.get((kind, person, ad))) and at - before < timedelta(seconds=2)
                shown = last.get(("ad.impression", person, ad))
                if not again and not (shown and at - shown < timedelta(seconds=0.3)):
                    clicked[person, campaign].append(at)
            elif kind == "ad.converted":
                led = any(at - click <= timedelta(days=7) for click in clicked[person, campaign])
                earned[campaign if led else "unattributed"] += orjson.loads(row["properties"])["amount_minor"]
            last[kind, person, ad] = at
        return dict(sorted(earned.items()))

    def summary(self) -> dict[str, object]:
        return {
            "from": self.start,
            "to": self.end,
            "sent": self.sent,
            "stored": sum(f.height for f in self.frames),
            "duplicate": self.duplicates,
            "quarantined": sum(self.broken.values()),
            "broken": self.broken,
            "earned_minor": self.earned(),
        }

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.events.write_parquet(folder / "events.parquet")
        self.hourly().write_csv(folder / "hourly.csv")
        (folder / "summary.json").write_bytes(orjson.dumps(self.summary(), option=orjson.OPT_INDENT_2))

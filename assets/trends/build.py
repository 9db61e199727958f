"""`trends`: from published slices to facts of who was on which board for how long.

Belongs here: reading mentions, turning stays into facts. Does not belong here: who is on a board
(`analytics.trend_replay`).

Kinds: hashtag, emoji, link. Boards of objects are not computed again: their members are endless, and which of them were
counted live depends on a summary of bounded memory.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from analytics.trend_replay import LEAD_PANES, replay
from analytics.trends import PANE
from assets.facts.build import FACT_SCHEMA, build_facts, write_facts
from assets.partitions import DAY, HOUR
from assets.publishing.seals import Build
from assets.publishing.sources import Reach
from assets.publishing.staging import BuildReport
from contracts.facts import BUCKET
from contracts.trend_boards import MENTION_TYPES
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render

_CODE = 1
"""Raised when the way facts are made changes while the SQL does not: seals made before are then built anew."""

_SECONDS = int(PANE / timedelta(seconds=1))
_BUCKET_SECONDS = int(BUCKET / timedelta(seconds=1))
_LEAD = -(-(LEAD_PANES * PANE) // HOUR) * HOUR
_SLICES = """
(
    SELECT * FROM connector_slices_builds
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64}, 'UTC')
        AND network = {network:String}
        AND (network, toStartOfHour(event_time), build_id) IN (
            SELECT network, source_bucket, source_build_id FROM build_scopes WHERE build_id = toUUID({build_id:String})
        )
)
"""


def trends_reach() -> Reach:
    """The hours that a day of `trends` is made of."""
    return Reach(before=_LEAD)


def build_trends(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Build the boards' facts of the scope (day × network) from published slices; publish what differs."""
    method = [_CODE, render("topic_mentions", source="slices", types=MENTION_TYPES)]
    return build_facts(
        clickhouse, "trends", scope, fill=_fill, method=method, counted="trend_entries", reach=trends_reach(),
        cause=cause, run_id=run_id, force=force,
    )  # fmt: skip


def stays_of(clickhouse: Client, build_id: str, day: datetime, network: str) -> pl.DataFrame:
    """Stays (STAY_SCHEMA) on boards of the hops that end in `(day, day + 1]`, from the slices of a build's scope."""
    given = {
        "build_id": build_id, "network": network, "kinds": ["hashtag", "emoji", "link"],
        "from_s": int((day - _LEAD).timestamp()), "to_s": int((day + DAY).timestamp()),
    }  # fmt: skip
    mentions = query_frame(clickhouse, render("topic_mention_panes", source=_SLICES, types=MENTION_TYPES), given)
    first = query_frame(clickhouse, render("topics_first_seen", source=_SLICES, types=MENTION_TYPES), given)
    since = {(row["workspace"], network): int(row["pane"]) for row in first.iter_rows(named=True)}
    start = int(day.timestamp()) // _SECONDS
    return replay(mentions, start + 1, start + int(DAY / PANE), since)


def facts_of_stays(stays: pl.DataFrame, day: datetime) -> pl.DataFrame:
    """Facts (FACT_SCHEMA) of a day: hops on a board as seconds, and entries, by the quarter of an hour of each."""
    start = int(day.timestamp()) // _SECONDS
    within = stays.with_columns(
        from_hop=pl.max_horizontal("first_hop", pl.lit(start + 1)), entered_today=pl.col("first_hop") > start
    ).filter(pl.col("from_hop") <= pl.col("last_hop"))
    hops = within.with_columns(
        hop=pl.int_ranges("from_hop", pl.col("last_hop") + 1)
    ).explode("hop")  # fmt: skip
    # The hop that ends at 12:15:00 is the last one of the bucket 12:00.
    bucket = (pl.col("hop") - 1) * _SECONDS // _BUCKET_SECONDS * _BUCKET_SECONDS
    rows = pl.concat(
        [
            hops.with_columns(measure=pl.lit("trend_seconds"), value=pl.lit(_SECONDS, pl.Int64)),
            hops.filter(pl.col("entered_today") & (pl.col("hop") == pl.col("first_hop"))).with_columns(
                measure=pl.lit("trend_entries"), value=pl.lit(1, pl.Int64)
            ),
        ]
    ).with_columns(bucket=pl.from_epoch(bucket, "s").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"))
    members = {
        "all": pl.lit(""),
        "window": pl.col("window"),
        "kind": pl.col("kind"),
        "topic": pl.concat_str("kind", pl.lit("/"), "topic"),
    }
    keys = [name for name in FACT_SCHEMA if name != "value"]
    return pl.concat(
        rows.with_columns(dimension=pl.lit(name), member=member).group_by(keys).agg(pl.col("value").sum())
        for name, member in members.items()
    ).select(pl.col(name).cast(dtype) for name, dtype in FACT_SCHEMA.items())


def _fill(clickhouse: Client, build: Build, scope: pl.DataFrame, sources: pl.DataFrame) -> None:
    if sources.is_empty():
        return
    facts = [
        facts_of_stays(stays_of(clickhouse, build.id, row["bucket"], row["network"]), row["bucket"])
        for row in scope.iter_rows(named=True)
    ]
    write_facts(clickhouse, build, pl.concat(facts))

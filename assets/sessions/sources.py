"""What a day of sessions is made of, which days wait for it, and which have been outrun.

Belongs here: sources, checksums, staleness. Does not belong here: building (`build`).

A day's sessions are made of its own slices, those of the next day (a session may last 24 hours), and what the day
before hands on: sessions that an event after midnight may join. They are therefore sealed when the next day is over, in
order of days (docs/decisions/0008).
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import polars as pl

from assets.partitions import DAY, SCOPE_SCHEMA
from assets.publishing.build import SOURCES_SCHEMA
from assets.publishing.checksum import digest
from assets.publishing.seals import bounds, conform, newest_seals
from assets.publishing.sources import Reach, Refused, sources_of_days
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render

VERSION = 1
"""Of the rule in analytics/sessions.py: a change of it is a new number here, and every day is stale."""

REACH = Reach(after=DAY)
LENGTH = timedelta(days=2)
"""From a day's start to the instant at which it can be sealed."""


_PAIR = ["bucket", "network"]
HANDED_ON = {**SCOPE_SCHEMA, "handed_on": pl.UInt64()}


def sources_of_sessions(clickhouse: Client, scope: pl.DataFrame) -> tuple[pl.DataFrame, Refused]:
    """The published slices of every day and the next (SOURCES_SCHEMA), and the days that must wait, with the reason.

    A day waits while an hour of it or of the next day has archived events and no published slice.
    """
    if scope.is_empty():
        return pl.DataFrame(schema=SOURCES_SCHEMA), {}
    sources, refused = sources_of_days(clickhouse, scope, "connector_slices", REACH)
    following = scope.with_columns(pl.col("bucket") + DAY)
    _, open_after = sources_of_days(clickhouse, following, "connector_slices")
    days = dict(zip(following.iter_rows(), scope.iter_rows(), strict=True))
    return sources, {days[pair]: f"on the day after it {reason}" for pair, reason in open_after.items()} | refused


def handed_on(clickhouse: Client, scope: pl.DataFrame, build_id: str | None = None) -> pl.DataFrame:
    """What the day before hands on to each pair (HANDED_ON), a sum of hashes; pairs that get nothing are absent.

    The day before is read from its published build, or from the build of that id.
    """
    span = bounds(scope.with_columns(pl.col("bucket") - DAY))
    within = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket <= toDateTime({to_s:Int64}, 'UTC')"
    chosen = "build_id = toUUID({build_id:String})"
    if build_id is None:
        published = render("published_builds", dataset="sessions", condition=within)
        chosen = f"(bucket, network, build_id) IN (SELECT bucket, network, build_id FROM ({published}))"  # noqa: S608 - constants
    sql = render("sessions_handed_on", condition=f"{within} AND {chosen}")
    found = query_frame(clickhouse, sql, {**span, "build_id": build_id or ""}).rename({"day": "bucket"})
    return conform(found, HANDED_ON).join(scope, on=_PAIR, how="semi")


def checksums(sources: pl.DataFrame, handed: pl.DataFrame) -> pl.DataFrame:
    """Per pair with sources: SCOPE_SCHEMA and `checksum`, a hash of all that its sessions are made of."""
    rows = []
    given = {(bucket, network): value for bucket, network, value in handed.iter_rows()}
    for (bucket, network), mine in sources.sort("source_bucket").group_by("bucket", "network", maintain_order=True):
        hours = [f"{at:%Y-%m-%d %H} {each}" for at, each in mine["source_bucket", "source_checksum"].iter_rows()]
        rows.append((bucket, network, digest([*_method(), *hours, given.get((bucket, network), 0)])))
    return pl.DataFrame(rows, schema={**SCOPE_SCHEMA, "checksum": pl.UInt64()}, orient="row")


def stale_sessions(clickhouse: Client, days: pl.DataFrame) -> pl.DataFrame:
    """The days (SCOPE_SCHEMA) that can be built and whose published build is missing or made of something else."""
    if days.is_empty():
        return days
    sources, waiting = sources_of_sessions(clickhouse, days)
    ready = days.join(pl.DataFrame(list(waiting), schema=SCOPE_SCHEMA, orient="row"), on=_PAIR, how="anti")
    published = newest_seals(clickhouse, "sessions", days).select(
        "bucket", "network", pl.col("checksum").alias("sealed")
    )
    own = sources.filter(pl.col("source_bucket") < pl.col("bucket") + DAY).select("bucket", "network").unique()
    expected = checksums(sources, handed_on(clickhouse, days))
    return (
        ready.join(expected, on=_PAIR, how="left", maintain_order="left")
        .join(published, on=_PAIR, how="left", maintain_order="left")
        .join(own.with_columns(pl.lit(value=True).alias("own")), on=_PAIR, how="left", maintain_order="left")
        .filter(pl.col("checksum").fill_null(0) != pl.col("sealed").fill_null(0))
        .filter(pl.col("own").fill_null(value=False) | pl.col("sealed").is_not_null())
        .select(list(SCOPE_SCHEMA))
    )  # fmt: skip


@cache
def _method() -> tuple[object, ...]:
    return ("sessions", VERSION, render("session_event_columns"), render("session_facts", sessions="s", nobodys="n"))

"""`ads` and `ad_returns`: from published slices to facts, credits and seals.

Belongs here: which events a day is made of, in which portions they are read. Does not belong here: what they add up to
(`analytics.ads`), SQL (`dbt_project/macros/ads.sql`).

A day's conversions look back over the days before it; what a day's touches earn is known when the look-back after it is
over. Both are read from published slices, portion by portion: what is told about one person needs nothing of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import polars as pl

from analytics.ad_traffic import ad_events_of, judge
from analytics.ads import FACT_COLUMNS, credit_facts, credits_of, event_facts
from assets.facts.build import FACT_SCHEMA, build_facts, write_facts
from assets.partitions import DAY
from assets.publishing.seals import Build
from assets.publishing.sources import Reach
from assets.publishing.staging import BuildReport
from contracts.ads import TOUCH_OF_TYPE, ad_rules
from resources.clickhouse import Client, insert_frame, query_frame
from resources.clickhouse.sql import render

_CODE = 1
"""Raised when the way facts are made changes while rules and SQL do not: seals made before are then built anew."""

_MOST_DAYS = 7
_PORTION = 500_000
"""Ad events read at a time: about 300 MB as columns with their texts."""

_SLICES = """
(
    SELECT * FROM connector_slices_builds
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64}, 'UTC')
        AND (network, toStartOfHour(event_time), build_id) IN (
            SELECT network, source_bucket, source_build_id FROM build_scopes WHERE build_id = toUUID({build_id:String})
        )
)
"""
_TELLING = [*TOUCH_OF_TYPE, "ad.converted"]
_COUNT = f"SELECT count() AS events FROM {_SLICES} WHERE startsWith(type, 'ad.')"  # noqa: S608 # our own texts
_CREDITS = "ad_credits_builds"


def ads_reach() -> Reach:
    """The hours that a day of `ads` is made of."""
    return Reach(before=ad_rules().lead)


def ad_returns_reach() -> Reach:
    """The hours that a day of `ad_returns` is made of."""
    rules = ad_rules()
    return Reach(before=rules.lead, after=timedelta(hours=rules.longest_look_back_hours))


def build_ads(clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False) -> BuildReport:
    """Build ad performance and credits of the scope (day × network) from published slices; publish what differs."""
    return build_facts(
        clickhouse, "ads", scope, fill=_fill_ads, method=_method(), counted="ad_clicks", reach=ads_reach(),
        cause=cause, run_id=run_id, force=force,
    )  # fmt: skip


def build_ad_returns(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Build what the touches of the scope (day × network) have earned so far; publish what differs."""
    return build_facts(
        clickhouse, "ad_returns", scope, fill=_fill_returns, method=_method(), counted="credit_last",
        reach=ad_returns_reach(), cause=cause, run_id=run_id, force=force,
    )  # fmt: skip


def _method() -> list[object]:
    return [_CODE, ad_rules().model_dump_json(), render("ad_scope", source="slices")]


def _fill_ads(clickhouse: Client, build: Build, scope: pl.DataFrame, sources: pl.DataFrame) -> None:
    rules, facts = ad_rules(), []
    for number, (start, end, events) in enumerate(_portions(clickhouse, build, scope, sources, ads_reach())):
        judged = judge(events, rules)
        own = judged.filter((pl.col("event_time") >= start) & (pl.col("event_time") < end))
        credits = _of_scope(credits_of(judged, start, end, rules), "converted_at", scope)
        facts += [event_facts(own), credit_facts(credits, "conversion")]
        rows = credits.with_columns(
            pl.lit(build.id).alias("build_id"),
            pl.col(pl.String).fill_null(""),
            pl.col("direct").fill_null(value=False).cast(pl.UInt8),
        )
        insert_frame(clickhouse, _CREDITS, rows, token=f"{_CREDITS}/{build.id}/{number}")
    _write(clickhouse, build, facts, scope)


def _fill_returns(clickhouse: Client, build: Build, scope: pl.DataFrame, sources: pl.DataFrame) -> None:
    rules, reach, facts = ad_rules(), ad_returns_reach(), []
    for start, end, events in _portions(clickhouse, build, scope, sources, reach):
        judged = judge(events, rules)
        own = judged.filter((pl.col("event_time") >= start) & (pl.col("event_time") < end))
        spent = event_facts(own).filter(pl.col("measure") == "ad_cost_minor")
        credits = credits_of(judged, start, end + reach.after, rules)
        touched = credits.filter((pl.col("touch_at") >= start) & (pl.col("touch_at") < end))
        facts += [spent.with_columns(measure=pl.lit("spent_minor")), credit_facts(touched, "ad")]
    _write(clickhouse, build, facts, scope)


def _write(clickhouse: Client, build: Build, facts: list[pl.DataFrame], scope: pl.DataFrame) -> None:
    if facts:
        together = pl.concat(facts).group_by(*FACT_COLUMNS[:-1]).agg(pl.col("value").sum())
        write_facts(clickhouse, build, _of_scope(together, "bucket", scope).select(list(FACT_SCHEMA)))


def _of_scope(rows: pl.DataFrame, time: str, scope: pl.DataFrame) -> pl.DataFrame:
    """The rows of the scope's days and networks: those between them were read for their sake only."""
    day = pl.col(time).dt.truncate("1d").cast(scope.schema["bucket"])
    days = scope.select(pl.col("bucket").alias("day"), "network")
    return rows.with_columns(day=day).join(days, on=["day", "network"], how="semi", maintain_order="left").drop("day")


def _portions(
    clickhouse: Client, build: Build, scope: pl.DataFrame, sources: pl.DataFrame, reach: Reach
) -> Iterator[tuple[datetime, datetime, pl.DataFrame]]:
    """Runs of days `[start, end)` of the scope with the ad events (AD_EVENT_SCHEMA) it takes to tell about them."""
    if sources.is_empty():
        return
    for start, end in _runs(scope):
        given = {
            "build_id": build.id,
            "from_s": int((start - reach.before).timestamp()),
            "to_s": int((end + reach.after).timestamp()),
        }
        held = int(query_frame(clickhouse, _COUNT, given)["events"].item())
        parts = -(-held // _PORTION)
        for part in range(parts):
            yield start, end, _read(clickhouse, start, end, {**given, "part": part, "parts": parts})


def _read(clickhouse: Client, start: datetime, end: datetime, given: Mapping[str, object]) -> pl.DataFrame:
    own = {"own_from_ms": int(start.timestamp() * 1000), "own_to_ms": int(end.timestamp() * 1000)}
    found = query_frame(clickhouse, render("ad_scope", source=_SLICES), {**given, **own, "telling": _TELLING})
    return ad_events_of(found, ad_rules())


def _runs(scope: pl.DataFrame) -> Iterator[tuple[datetime, datetime]]:
    """Runs of neighbouring days, none longer than _MOST_DAYS: what lies before each is read once for all its days."""
    days: list[datetime] = scope["bucket"].unique().sort().to_list()
    first = last = None
    for day in days:
        if first is not None and last is not None and (day - last > DAY or day - first >= _MOST_DAYS * DAY):
            yield first, last + DAY
            first = None
        first, last = first or day, day
    if first is not None and last is not None:
        yield first, last + DAY

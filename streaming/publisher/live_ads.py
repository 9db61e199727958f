"""Live ads: facts and credits of hours whose day is not sealed, made as the sealed ones are, soon after events arrive.

Belongs here: which hours to make again, and putting them where readers look. Does not belong here: what events add up
to (`analytics.ads`), SQL (`dbt_project/macros/ads.sql`).

An hour is made again whenever the number of ad events that it rests on, its own and those of the look-back before it,
is not the one it was made of: late events, restarts and kills need no other bookkeeping.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from analytics.ad_traffic import ad_events_of, judge
from analytics.ads import FACT_COLUMNS, credit_facts, credits_of, event_facts
from contracts.ads import TOUCH_OF_TYPE, AdRules, ad_rules
from resources.clickhouse import Client, insert_frame, open_clickhouse, query_frame
from resources.clickhouse.sql import render
from resources.crashpoints import crashpoint

MOST_HOURS = 240
"""Hours made in one run, the newest first: a backlog does not keep the current hour waiting for long."""

_STRETCH = timedelta(hours=24)
"""Hours this near to each other are read together, with the look-back before the first of them."""

_HOUR = timedelta(hours=1)
_PORTION = 300_000
_TELLING = [*TOUCH_OF_TYPE, "ad.converted"]
_EVENTS = """
(
    SELECT * FROM events
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64}, 'UTC')
)
"""


class LiveAds:
    """The publisher's task. It rests twice as long as it works, so that it takes a third of a core at most."""

    name = "live ads"
    every_seconds = 2.0

    def __init__(self, clickhouse_url: str) -> None:
        self._url = clickhouse_url
        self._client: Client | None = None
        self._rest_until = 0.0

    def run(self, now: datetime) -> None:
        """Make the hours that are due. Raises what the store raises."""
        begun = time.monotonic()
        if begun < self._rest_until:
            return
        if self._client is None:
            self._client = open_clickhouse(self._url)
        refresh_live_ads(self._client, now)
        ended = time.monotonic()
        self._rest_until = ended + 2 * (ended - begun)


def refresh_live_ads(client: Client, now: datetime, most_hours: int = MOST_HOURS) -> int:
    """Make the newest `most_hours` of the hours that are due; returns how many were made. Safe to repeat at any time.

    now: UTC; it names the generation, so that an answer as of an instant can tell what was there.
    """
    rules = ad_rules()
    due = hours_due(client, rules).sort("hour", descending=True).head(most_hours)
    for stretch in _stretches(due):
        _make(client, rules, stretch, round(now.timestamp() * 1000))
    return due.height


def _stretches(due: pl.DataFrame) -> list[pl.DataFrame]:
    """Hours, newest first, as parts no longer than _STRETCH."""
    parts: list[pl.DataFrame] = []
    rest = due
    while not rest.is_empty():
        near = pl.col("hour") > pl.col("hour").max() - _STRETCH
        parts.append(rest.filter(near))
        rest = rest.filter(~near)
    return parts


def hours_due(client: Client, rules: AdRules) -> pl.DataFrame:
    """Hours (as `hours_known`) of days that are not sealed, to be made or made again."""
    return hours_known(client, rules).filter((pl.col("is_open") == 1) & (pl.col("made_of") != pl.col("reach")))


def hours_known(client: Client, rules: AdRules, first: datetime | None = None) -> pl.DataFrame:
    """Hours with ad events from `first` on (default: the first whose day is not sealed, less its look-back), in order.

    `hour`, `reach`: the ad events it rests on, `made_of`: those it was made of, `side` of its rows, `is_open`: whether
    a day of it is not sealed.
    """
    lead_hours = int(rules.lead / _HOUR)
    given = {"lead_hours": lead_hours, "first_s": int(first.timestamp()) if first else 0}
    known = query_frame(client, render("live_ad_hours_known"), given)
    hour = pl.from_epoch(pl.col("hour_s").cast(pl.Int64), "s").dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    reach = pl.col("counted").cast(pl.Int64).rolling_sum_by("hour", window_size=f"{lead_hours + 1}h", closed="right")
    hours = known.with_columns(hour.alias("hour")).sort("hour").with_columns(reach=reach)
    hours = hours.select("hour", "reach", pl.col("made_of").cast(pl.Int64), "side", "is_open")
    return hours.filter(pl.col("hour") >= first) if first else hours


def _make(client: Client, rules: AdRules, due: pl.DataFrame, generation: int) -> None:
    """Make the hours of `due` anew and let readers see them."""
    start, end = due["hour"].min(), due["hour"].max()
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        raise ValueError("no hour is due")
    facts, credits = [], []
    for judged in _judged(client, rules, (start, end + _HOUR), int(due["reach"].sum())):
        own = _of_hours(judged, "event_time", due)
        mine = _of_hours(credits_of(judged, start, end + _HOUR, rules), "converted_at", due)
        credits.append(mine)
        facts += _facts(own, mine)
    keys = ["dataset", *FACT_COLUMNS[:-1], "source_hour"]
    together = pl.concat(facts).group_by(keys).agg(pl.col("value").sum())
    earned = pl.concat(credits).with_columns(
        pl.col(pl.String).fill_null(""), pl.col("direct").fill_null(value=False).cast(pl.UInt8)
    )
    sides = due.select(
        pl.col("hour").alias("source_hour"),
        (1 - pl.col("side")).cast(pl.UInt8).alias("side"),
        pl.lit(generation, pl.UInt64).alias("generation"),
    )
    token = f"{start:%Y%m%d%H}/{generation}"
    for table, rows in (("live_ad_facts", together), ("live_ad_credits", earned)):
        slot = pl.int_range(pl.len(), dtype=pl.UInt32).over("source_hour").alias("slot")
        insert_frame(client, table, rows.join(sides, on="source_hour").with_columns(slot), token=f"{table}/{token}")
    crashpoint("live_ads.rows_written")
    done = sides.with_columns(due["reach"].cast(pl.UInt64).alias("events"))
    insert_frame(client, "live_ad_hours", done, token=f"live_ad_hours/{token}")


def _judged(client: Client, rules: AdRules, period: tuple[datetime, datetime], reach: int) -> Iterator[pl.DataFrame]:
    """The judged ad events that it takes to tell about a period, in portions by person."""
    start, end = period
    given = {
        "from_s": int((start - rules.lead).timestamp()),
        "to_s": int(end.timestamp()),
        "own_from_ms": int(start.timestamp() * 1000),
        "own_to_ms": int(end.timestamp() * 1000),
        "telling": _TELLING,
    }
    parts = -(-reach // _PORTION)
    for part in range(parts):
        found = query_frame(client, render("ad_scope", source=_EVENTS), {**given, "part": part, "parts": parts})
        yield judge(ad_events_of(found, rules), rules)


def _of_hours(rows: pl.DataFrame, time: str, due: pl.DataFrame) -> pl.DataFrame:
    """The rows of the hours that are due, with that hour as `source_hour`."""
    hour = pl.col(time).dt.truncate("1h").cast(due.schema["hour"]).alias("source_hour")
    return rows.with_columns(hour).join(due.select(source_hour="hour"), on="source_hour", how="semi")


def _facts(own: pl.DataFrame, credits: pl.DataFrame) -> list[pl.DataFrame]:
    """Facts of both datasets with `dataset` and the hour they are of."""
    by = ["source_hour"]
    happened = event_facts(own, by)
    spent = happened.filter(pl.col("measure") == "ad_cost_minor").with_columns(measure=pl.lit("spent_minor"))
    parts = {
        "ads": [happened, credit_facts(credits, "conversion", by)],
        "ad_returns": [spent, credit_facts(credits, "ad", by)],
    }
    return [frame.with_columns(dataset=pl.lit(name)) for name, frames in parts.items() for frame in frames]

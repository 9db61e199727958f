"""Ad clicks and accounts' tweets through the whole spine give the numbers that plain polars and loops give."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.clickhouse import query_frame
from serving.social.answers import Period, followers_of, posts_of

IRA = ("Aldrich420", "AmandaVGreen", "FrankfurtBote", "acejinev", "aniiAntrs", "boeing_is_back", "coldwar20_ru")


def moments(column: str) -> pl.Expr:
    padded = pl.col(column).str.replace(r" (\d):", " 0$1:")  # 2017-11-07 9:30 → 2017-11-07 09:30
    return padded.str.to_datetime("%Y-%m-%d %H:%M", time_unit="ms", time_zone="UTC")


def test_clicks_conversions_and_credits_of_the_ad_clicks(spine: Any, real_file: Callable[[str], Path]) -> None:
    path = real_file("talkingdata_clicks_head.csv")
    rows = pl.read_csv(path, infer_schema=False).with_columns(at=moments("click_time"), done=moments("attributed_time"))
    spine.load([path], "talkingdata")
    first, last = rows["at"].min(), max(rows["at"].max(), rows["done"].max())
    start = first.replace(hour=0, minute=0)
    spine.seal(start, last.replace(minute=0) + timedelta(hours=1))
    # the last day ends when something newer arrives; until then its hours are sealed and its ads are live
    days = query_frame(spine.stores.clickhouse, "SELECT count() AS n FROM seals WHERE dataset = 'ads'")["n"].item()
    end = last.replace(hour=0, minute=0) + timedelta(days=1)
    if days < (end - start).days:
        from streaming.publisher.live_ads import refresh_live_ads

        while refresh_live_ads(spine.stores.clickhouse, datetime.now(UTC)):
            pass

    def ask(metric: str) -> dict[str, Any]:
        found = spine.ask(metric, start=start, end=end, grain="total", by=("campaign",))
        return {campaign: value for campaign, value in found.select("campaign", "value").iter_rows() if value}

    clicks, valid, done = Counter[str](), Counter[str](), Counter[str]()
    seen: dict[tuple[str, ...], datetime] = {}
    paths = defaultdict[tuple[str, ...], list[tuple[datetime, str]]](list)
    for row in rows.sort("at", maintain_order=True).iter_rows(named=True):
        person = (row["ip"], row["device"], row["os"], row["app"])
        clicks[row["channel"]] += 1
        before = seen.get(person)
        if before is None or row["at"] - before >= timedelta(seconds=2):
            valid[row["channel"]] += 1
            paths[person].append((row["at"], row["channel"]))
        seen[person] = row["at"]
    last_touch = Counter[str]()
    for row in rows.filter(pl.col("done").is_not_null()).iter_rows(named=True):
        done[row["channel"]] += 1
        person = (row["ip"], row["device"], row["os"], row["app"])
        before_it = [each for each in paths[person] if timedelta(0) <= row["done"] - each[0] <= timedelta(days=7)]
        last_touch[max(before_it)[1] if before_it else "unattributed"] += 1_000_000
    assert sum(clicks.values()) == 5000
    assert sum(done.values()) > 5
    assert ask("ad_clicks_raw") == clicks
    assert ask("valid_clicks") == valid
    assert ask("valid_conversions") == done
    assert ask("attributed_conversions_last") == last_touch
    total = spine.ask("cvr", start=start, end=end, grain="total")["value"].item()
    assert total == pytest.approx(sum(done.values()) / sum(valid.values()))
    assert spine.ask("ctr", start=start, end=end, grain="total")["value"].to_list() == [None], "no impressions: no CTR"


def test_followers_and_posts_of_the_seven_accounts(spine: Any, real_file: Callable[[str], Path]) -> None:
    paths = [real_file(f"ira_tweets/{name}.csv") for name in IRA]
    spine.load(paths, "ira_tweets")
    rows = pl.concat([pl.read_csv(path, infer_schema=False) for path in paths]).select(
        "author_id",
        own=pl.col("post_type").fill_null("") == "",
        at=pl.col("publish_date").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms", time_zone="UTC"),
        followers=pl.col("followers").cast(pl.Int64),
    )
    start, end = datetime(2014, 1, 1, tzinfo=UTC), datetime(2018, 7, 1, tzinfo=UTC)
    rows = rows.filter((pl.col("at") >= start) & (pl.col("at") < end))
    period = Period(start, end, network="ira_tweets")
    found = {row["account"]: row for row in followers_of(spine.stores.clickhouse, period, timedelta(days=1)).to_dicts()}
    assert set(found) == set(rows["author_id"].unique())
    for (account,), mine in rows.group_by("author_id"):
        told = found[account]
        # of several tweets in one minute the reading of one stands; which one, the files do not say
        minutes = mine.group_by("at").agg(low=pl.col("followers").min(), high=pl.col("followers").max()).sort("at")
        assert told["readings"] == minutes.height
        assert minutes["low"].mean() <= told["by_readings"] <= minutes["high"].mean()  # type: ignore[operator]  # numbers
        area = {"low": 0.0, "high": 0.0}
        observed = 0.0
        steps = minutes.rows()
        for (at, low, high), (then, next_low, next_high) in pairwise(steps):
            hours = (then - at).total_seconds() / 3600
            if hours <= 12:
                observed += hours
                area["low"] += hours * (low + next_low) / 2
                area["high"] += hours * (high + next_high) / 2
        assert told["observed_hours"] == pytest.approx(observed)
        if observed:
            assert area["low"] / observed - 1e-6 <= told["by_time"] <= area["high"] / observed + 1e-6
        assert told["provenances"] == ["imported"]
    posts = posts_of(spine.stores.clickhouse, period)
    assert dict(posts["account"].value_counts().iter_rows()) == dict(
        rows.filter("own")["author_id"].value_counts().iter_rows()
    )
    known = posts.filter(pl.col("followers_then").is_not_null())
    assert known.height == posts.height, "every tweet says how many followers there were"

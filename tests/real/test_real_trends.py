"""Trending emoji of one real evening: what sealing finds is what a separate polars computation finds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

# Flags, and pictures with what follows them: variation selector, skin tone, joined pictures.
_PICTURE = "[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55\u231a\u231b\u23e9-\u23fa]"
_DRESSED = f"{_PICTURE}[\ufe0f\U0001f3fb-\U0001f3ff]*"
_EMOJI = re.compile(f"[\U0001f1e6-\U0001f1ff]{{2}}|{_DRESSED}(?:\u200d{_DRESSED})*")
_WORN = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")
WINDOWS = {"1m": 6, "5m": 30, "15m": 90}


def tail_log10(x: int, s: int, n: int, m: int) -> float:
    """log10 P(X >= x), its terms added up from x on."""
    r, p = 0.5 + s, (0.5 + n) / (0.5 + n + m)
    first = math.lgamma(x + r) - math.lgamma(r) - math.lgamma(x + 1) + r * math.log(p) + x * math.log1p(-p)
    term, total, k = 1.0, 0.0, x
    while term > total * 1e-17:
        total += term
        term *= (r + k) / (k + 1) * (1 - p)
        k += 1
    return (first + math.log(total)) / math.log(10)


def seconds_on_boards(tweets: pl.DataFrame) -> dict[str, int]:
    """Emoji → seconds on boards, over all windows; each tweet written out into every hop whose window holds it."""
    found = [sorted({_WORN.sub("", e) for e in _EMOJI.findall(text or "")}) for text in tweets["text"]]
    pane = (pl.col("created_at").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.epoch("s") // 10).alias("pane")
    panes = tweets.select(pane, "screen_name")
    start, end = panes["pane"].min(), panes["pane"].max()
    said = panes.with_columns(emoji=pl.Series(found, dtype=pl.List(pl.String))).explode("emoji").drop_nulls().unique()
    assert isinstance(start, int)
    assert isinstance(end, int)

    def spread(rows: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
        hops = pl.int_ranges(pl.col("pane") + first, pl.col("pane") + last + 1)
        return rows.with_columns(hop=hops).explode("hop")

    seconds: dict[str, int] = {}
    for m in WINDOWS.values():
        now = spread(said, 1, m).group_by("emoji", "hop").agg(x=pl.col("screen_name").n_unique())
        often = now.filter(pl.col("x") >= 5).select("emoji").unique()
        each = (
            said.join(often, on="emoji", how="semi").group_by("emoji", "pane").agg(n=pl.col("screen_name").n_unique())
        )
        past = spread(each, m + 1, m + 360).group_by("emoji", "hop").agg(s=pl.col("n").sum())
        rows = now.join(often, on="emoji", how="semi").join(past, on=["emoji", "hop"], how="left").sort("emoji", "hop")
        on: dict[str, int] = {}  # emoji → the last hop it was on the board
        for emoji, hop, x, s in (
            rows.with_columns(pl.col("s").fill_null(0)).select("emoji", "hop", "x", "s").iter_rows()
        ):
            rare = tail_log10(x, s, max(0, min(360, hop - m - start)), m)
            if (rare < -7 and x >= 5) or (on.get(emoji) == hop - 1 and rare <= -4):
                on[emoji] = hop
                seconds[emoji] = seconds.get(emoji, 0) + 10
    return seconds


def test_trending_emoji_of_an_evening(spine: Any, real_file: Callable[[str], Path]) -> None:
    path = real_file("mayweather_mcgregor_tweets.csv")
    expected = seconds_on_boards(pl.read_csv(path, infer_schema=False).unique("id"))
    assert len(expected) >= 3
    spine.load([path], "emoji_tweets")
    days = pl.read_csv(path, infer_schema=False)["created_at"].str.slice(0, 10)
    first, last = (datetime.fromisoformat(str(day)).replace(tzinfo=UTC) for day in (days.min(), days.max()))
    spine.seal(first, last + timedelta(days=1))
    found = spine.stores.clickhouse.query(
        "SELECT substring(member, length('emoji/') + 1), sum(value) FROM facts WHERE dataset = 'trends'"
        " AND dimension = 'topic' AND measure = 'trend_seconds' AND startsWith(member, 'emoji/') GROUP BY member"
    ).result_rows
    assert dict(found) == expected

"""What the boards are computed from: counts of every window that ends with a hop, read from the panes in ClickHouse.

Belongs here: asking the store, and which members of the unbounded kinds are asked about. Does not belong here: the SQL
(dbt_project/macros/trends.sql), the mathematics (`analytics`).

Hashtags and emoji are few: every topic is counted. Links and objects are endless: the 500 that a Space-Saving summary
of the last quarter of an hour names, per workspace and network, are counted, exactly. Whoever makes more than a 500th
of a network's attention is among them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics.heavy_hitters import SpaceSaving
from analytics.trends import BASELINE_PANES, LEAST_ACTORS, PANE, STATS_SCHEMA, WINDOWS, with_all_networks
from contracts.trend_boards import KINDS
from resources.clickhouse import Client, query_frame
from resources.clickhouse.sql import render

SKETCHED = ("link", "object")
COUNTED = tuple(kind for kind in KINDS if kind not in SKETCHED)
CAPACITY = 500
LONGEST = max(WINDOWS.values())

_TOPIC = ("workspace", "network", "kind", "topic")


def hop_after(now: datetime) -> datetime:
    """The end of the pane that is filling."""
    return hop_before(now) + PANE


def hop_before(now: datetime) -> datetime:
    """The end of the last full pane."""
    seconds = int(PANE / timedelta(seconds=1))
    return datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)


class Baselines:
    """The hour before each window. It does not change within a hop, so each topic is asked about once in a hop."""

    def __init__(self) -> None:
        self._hop: datetime | None = None
        self._asked: set[str] = set()
        self._found: list[pl.DataFrame] = []

    def of(self, client: Client, hop: datetime, kinds: Sequence[str], topics: Iterable[str]) -> pl.DataFrame:
        """Columns workspace, network, kind, topic and `baseline_<window>`, of all topics asked about in this hop."""
        if hop != self._hop:
            self._hop, self._asked, self._found = hop, set(), []
        new = sorted(set(topics) - self._asked)
        if new or not self._found:
            parameters = {"hop": hop, "kinds": list(kinds), "topics": new}
            sql = render("trend_baselines", windows=WINDOWS, past=BASELINE_PANES)
            self._found.append(query_frame(client, sql, parameters))
            self._asked |= set(new)
        return pl.concat(self._found)


class AllCounts:
    """Stats of the kinds whose every topic is counted."""

    def __init__(self, kinds: Sequence[str] = COUNTED) -> None:
        self._kinds = kinds
        self._baselines = Baselines()

    def stats(self, client: Client, hop: datetime, kept: Sequence[str]) -> pl.DataFrame:
        """STATS_SCHEMA of the windows that end with `hop`: topics with actors enough to enter, and those of `kept`."""
        return _stats(client, hop, kept, self._kinds, topics=None, baselines=self._baselines)


class HeavyCounts:
    """Stats of the unbounded kinds. Remembers a summary per pane, which a new process reads again from the store."""

    def __init__(self) -> None:
        self._panes: dict[int, Mapping[tuple[str, str, str], SpaceSaving]] = {}
        self._baselines = Baselines()

    def stats(self, client: Client, hop: datetime, kept: Sequence[str]) -> pl.DataFrame:
        """As `AllCounts.stats`, of the heavy members and `kept`."""
        self._read_new(client, hop)
        heavy = {member for summary in self._merged().values() for member in summary.members()}
        return _stats(client, hop, kept, SKETCHED, topics=sorted(heavy | set(kept)), baselines=self._baselines)

    def _read_new(self, client: Client, hop: datetime) -> None:
        """Summarise the panes of the longest window that are not known yet; the newest known one may have grown."""
        step = int(PANE / timedelta(seconds=1))
        end = int(hop.timestamp())
        first = end - LONGEST * step
        for old in [pane for pane in self._panes if pane < first or pane >= end]:
            del self._panes[old]
        start = max([first, *self._panes])  # the newest again, for what came a little late
        for at in range(start, end, 10 * step):  # a few panes at a time: what is exact here has no bound
            until = min(end, at + 10 * step)
            found = _summaries(client, at, until)
            self._panes.update({pane: found.get(pane, {}) for pane in range(at, until, step)})

    def _merged(self) -> dict[tuple[str, str, str], SpaceSaving]:
        merged: dict[tuple[str, str, str], SpaceSaving] = defaultdict(lambda: SpaceSaving(CAPACITY))
        for summaries in self._panes.values():
            for key, summary in summaries.items():
                merged[key].merge(summary)
        return merged


def _summaries(client: Client, start: int, end: int) -> dict[int, Mapping[tuple[str, str, str], SpaceSaving]]:
    parameters = {"kinds": list(SKETCHED), "start": _at(start), "end": _at(end)}
    rows = query_frame(client, render("topic_pane_totals"), parameters)
    found: dict[int, dict[tuple[str, str, str], SpaceSaving]] = defaultdict(dict)
    for key, group in rows.group_by("pane", "workspace", "network", "kind"):
        pane, workspace, network, kind = key
        summary = SpaceSaving(CAPACITY)
        summary.add(dict(group.select("topic", "total").iter_rows()))
        found[int(str(pane))][str(workspace), str(network), str(kind)] = summary
    return dict(found)


def _stats(
    client: Client,
    hop: datetime,
    kept: Sequence[str],
    kinds: Sequence[str],
    *,
    topics: Sequence[str] | None,
    baselines: Baselines,
) -> pl.DataFrame:
    parameters = {"hop": hop, "least": LEAST_ACTORS, "kinds": list(kinds), "kept": list(kept)}
    windows = render("trend_windows", windows=WINDOWS, chosen=topics is not None)
    counts = query_frame(client, windows, parameters | ({"topics": list(topics)} if topics is not None else {}))
    if counts.is_empty():
        return pl.DataFrame(schema=STATS_SCHEMA)
    past = baselines.of(client, hop, kinds, counts["topic"])
    since = query_frame(client, render("topics_since"))
    topics_here = counts.select("workspace", "kind", "topic").unique()
    known = past.join(topics_here, on=("workspace", "kind", "topic"), how="semi")
    both = counts.join(known, on=_TOPIC, how="full", coalesce=True).join(since, on=("workspace", "network"), how="left")
    return with_all_networks(pl.concat([_of_window(both, name, hop) for name in WINDOWS]))


def _of_window(counts: pl.DataFrame, name: str, hop: datetime) -> pl.DataFrame:
    window_start = int((hop - WINDOWS[name] * PANE).timestamp())
    observed = (window_start - pl.col("since").cast(pl.Int64)) // int(PANE / timedelta(seconds=1))
    return counts.select(
        "workspace",
        "network",
        pl.lit(name).alias("window"),
        "kind",
        "topic",
        "label",
        pl.col(f"total_{name}").fill_null(0).cast(pl.Int64).alias("events"),
        pl.col(f"actors_{name}").fill_null(0).cast(pl.Int64).alias("distinct_actors"),
        pl.col(f"entropy_{name}").fill_null(0).alias("entropy_sum"),
        pl.col(f"top_{name}").fill_null(0).cast(pl.Int64).alias("top_events"),
        pl.col(f"baseline_{name}").fill_null(0).cast(pl.Int64).alias("baseline"),
        observed.clip(0, BASELINE_PANES).fill_null(0).alias("past_panes"),
    )


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)

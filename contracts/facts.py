"""Fact datasets: families of additive integer measures in long form, and what may be asked of them.

Belongs here: their names, measures and dimensions. Does not belong here: how a measure is computed (`analytics`,
`dbt_project/macros`), metrics made of measures (`contracts/metrics`).

A fact is `bucket, workspace, network, dimension, member, measure, value`. `bucket` is the start of a quarter of an
hour, UTC: every time zone's offset is a multiple of it. `dimension` is `all` (`member` '') or one of the dataset's.
Every event falls into one member of each dimension (`unknown` where it says nothing), so members sum to `all`.
Money is in minor units of the currency that the measure or the member names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from contracts.ads import AMOUNT_REASONS, MODELS, REASONS, SEGMENTS, ad_rules

BUCKET = timedelta(minutes=15)

ALL = "all"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FactDataset:
    """One family. It is sealed by UTC day and network.

    `settles`: how long after a bucket's end its numbers can still grow without anything being late.
    """

    name: str
    title: str
    measures: Mapping[str, str]
    dimensions: Mapping[str, str]
    settles: timedelta


_SESSIONS = FactDataset(
    name="sessions",
    title="Sessions, by the quarter of an hour they start in",
    measures={
        "sessions": "sessions that start in the bucket",
        "engaged_sessions": "of these, those over 10 s, or with a key event, or with at least two views",
        "bounced_sessions": "of these, those that are not engaged",
        "session_events": "events of these sessions",
        "session_views": "pages and contents shown in these sessions",
        "session_key_events": "conversions, and events marked as key events, in these sessions",
        "session_duration_ms": "first to last event of these sessions, milliseconds",
        "session_goal_minor": "worth of their key events in minor units; ask by currency where there are several",
        "goals_in_other_currencies": "goals in another currency than their session's first goal, not summed",
        "unidentified_events": "events in the bucket with neither actor nor device, which are in no session",
    },
    dimensions={
        "campaign": "campaign of the first event that names one",
        "device": "kind of device, of the first event that names one",
        "entry": "first item viewed, or met where nothing was viewed",
        "currency": "currency of the first goal that is worth something",
    },
    settles=timedelta(hours=24),
)

_AD_SEGMENTS = {name: f"{name} of the event, or of the touch that earned it" for name in SEGMENTS}
_AD_CREDITS = {
    **{f"credit_{model}": f"conversions credited by the model {model}, in millionths" for model in MODELS},
    **{f"revenue_{model}_minor": f"revenue credited by the model {model}, minor units" for model in MODELS},
}
_AD_EVENTS = {
    "ad_impressions": "impressions",
    "ad_views": "viewable impressions",
    "ad_engagements": "engagements with ads",
    "ad_clicks": "clicks",
    "ad_conversions": "conversions, each once",
}
_ADS = FactDataset(
    name="ads",
    title="Ad performance, by the quarter of an hour of each event; credits by that of the conversion",
    measures={
        **{name: f"{what}, before invalid traffic is removed" for name, what in _AD_EVENTS.items()},
        **{f"{name}_valid": f"{what}, valid ones" for name, what in _AD_EVENTS.items()},
        **{f"ad_events_{reason}": f"ad events removed: {reason}" for reason in REASONS},
        **{f"ad_clicks_{reason}": f"clicks removed: {reason}" for reason in REASONS},
        "ad_clicks_orphan": "clicks without an impression before them",
        "ad_conversions_orphan": "conversions without a click before them",
        "ad_cost_minor": "cost of ad events, minor units",
        "ad_revenue_minor": "revenue of valid conversions, minor units",
        **{f"ad_amounts_{reason}": f"amounts that enter no sum: {reason}" for reason in AMOUNT_REASONS},
        **_AD_CREDITS,
    },
    dimensions=_AD_SEGMENTS,
    settles=timedelta(),
)
_AD_RETURNS = FactDataset(
    name="ad_returns",
    title="What ads earned, by the quarter of an hour of the touch that earned it",
    measures={"spent_minor": "cost of ad events, minor units", **_AD_CREDITS},
    dimensions=_AD_SEGMENTS,
    settles=timedelta(hours=ad_rules().longest_look_back_hours),
)

_TRENDS = FactDataset(
    name="trends",
    title="Trending boards, by the quarter of an hour of each hop",
    measures={
        "trend_seconds": "time that topics were on a board, seconds, added up over topics and windows",
        "trend_entries": "times that a topic entered a board",
    },
    dimensions={
        "topic": "kind and folded topic, e.g. hashtag/news",
        "kind": "hashtag, emoji or link",
        "window": "1m, 5m or 15m",
    },
    settles=timedelta(),
)

FACT_DATASETS: Mapping[str, FactDataset] = MappingProxyType(
    {each.name: each for each in (_SESSIONS, _ADS, _AD_RETURNS, _TRENDS)}
)

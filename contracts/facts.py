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
        "session_events": "events of these sessions",
        "session_duration_ms": "first to last event of these sessions, milliseconds",
    },
    dimensions={"campaign": "campaign of the first event that names one"},
    settles=timedelta(hours=24),
)

_ADS = FactDataset(
    name="ads",
    title="Ad performance, by the quarter of an hour of each event",
    measures={
        "ad_impressions": "impressions, before invalid traffic is removed",
        "ad_impressions_valid": "impressions that are valid",
        "ad_clicks_valid": "clicks that are valid, each once",
    },
    dimensions={"campaign": "campaign of the event"},
    settles=timedelta(),
)

FACT_DATASETS: Mapping[str, FactDataset] = MappingProxyType({each.name: each for each in (_SESSIONS, _ADS)})

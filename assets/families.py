"""The fact datasets that sealing builds after slices, in order.

Belongs here: their names, how far their days look, who builds them. Does not belong here: building.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import polars as pl

from assets.ads.build import ad_returns_reach, ads_reach, build_ad_returns, build_ads
from assets.partitions import DAY, SCOPE_SCHEMA
from assets.publishing.seals import Dataset, newest_seals
from assets.publishing.sources import Reach, stale_days
from assets.publishing.staging import BuildReport
from assets.trends.build import build_trends, trends_reach
from resources.clickhouse import Client


class BuildDays(Protocol):
    def __call__(
        self, clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
    ) -> BuildReport: ...


@dataclass(frozen=True, slots=True)
class Family:
    """A dataset sealed by day and network from published slices. `title` is what progress calls it."""

    dataset: Dataset
    title: str
    reach: Reach
    build: BuildDays


def families() -> tuple[Family, ...]:
    """All of them."""
    return (
        Family("ads", "ad performance and credits", ads_reach(), build_ads),
        Family("ad_returns", "what ads earned", ad_returns_reach(), build_ad_returns),
        Family("trends", "trending topics", trends_reach(), build_trends),
    )


def days_to_build(clickhouse: Client, family: Family, days: pl.DataFrame) -> pl.DataFrame:
    """Of complete days (SCOPE_SCHEMA), and the published ones whose reach they are in, those that are not up to date.

    A late event of one day can change a day after it (which looks back) and one before it (which looks ahead).
    """
    if days.is_empty():
        return days
    first = pl.col("bucket") - family.reach.after.days * DAY
    last = pl.col("bucket") + -(-family.reach.before // DAY) * DAY
    near = (
        days.with_columns(pl.datetime_ranges(first, last, interval="1d").alias("bucket"))
        .explode("bucket")
        .select(pl.col(name).cast(dtype) for name, dtype in SCOPE_SCHEMA.items())
        .unique(maintain_order=True)
    )
    published = newest_seals(clickhouse, family.dataset, near).select(list(SCOPE_SCHEMA))
    asked = pl.concat([days.select(list(SCOPE_SCHEMA)), published]).unique(maintain_order=True)
    return stale_days(clickhouse, family.dataset, asked, "connector_slices", family.reach)

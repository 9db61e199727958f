"""The checks that the job `seal` makes of what it has just published, so that the UI shows them without being asked.

Belongs here: which checks, by dataset. Does not belong here: what they compare (`sealed`, `sessions`, `ads`, `trends`).
Live sessions are left out: the publisher may still be on its way through a load that is being sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import dagster as dg
import polars as pl

from assets.describe.markdown import cell, table
from orchestration.checks import ads, sealed, sessions, trends
from resources.clickhouse import Client

Check = Callable[[Client, pl.DataFrame], dg.AssetCheckResult]
"""(ClickHouse, the published pairs) to the check's result."""


def _live_equals_sealed(clickhouse: Client, pairs: pl.DataFrame) -> dg.AssetCheckResult:
    verdicts = sealed.live_against_sealed(clickhouse, pairs)
    different = verdicts.filter(pl.col("verdict") == "different")
    named = ", ".join(f"{cell(b)} {n}" for b, n in different.select("bucket", "network").head(5).iter_rows())
    return dg.AssetCheckResult(
        passed=different.is_empty(),
        metadata={"pairs": verdicts.height, "different": different.height, "verdicts": table(verdicts)},
        description=named or None,
    )


CHECKS: Mapping[str, Mapping[str, Check]] = MappingProxyType(
    {
        "connector_slices": {"each_event_once": sealed.once_verdict},
        "engagement_hourly": {"live_equals_sealed": _live_equals_sealed},
        "sessions": {
            "every_event_in_one_session": lambda client, pairs: sessions.verdict_of(
                sessions.session_account(client, pairs), "identified", "in_sessions"
            ),
        },
        "ads": {
            "credits_sum_to_revenue": lambda client, pairs: ads.verdict_of(ads.unreconciled(client, pairs)),
            "segments_sum_to_totals": lambda client, pairs: ads.verdict_of(ads.uneven_segments(client, pairs)),
            "more_impressions_than_clicks": lambda client, pairs: ads.verdict_of(
                ads.impossible_rates(client, pairs), dg.AssetCheckSeverity.WARN
            ),
            "ads_live_equals_sealed": lambda client, pairs: ads.verdict_of(ads.live_differences(client, pairs)),
        },
        "trends": {
            "boards_equal_recomputation": lambda client, pairs: trends.verdict_of(
                trends.history_differences(client, pairs)
            )
        },
    }
)


def evaluate(clickhouse: Client, dataset: str, pairs: pl.DataFrame) -> list[dg.AssetCheckEvaluation]:
    """Make every check of a dataset for pairs that were published (SCOPE_SCHEMA)."""
    if pairs.is_empty():
        return []
    made = {name: check(clickhouse, pairs) for name, check in CHECKS.get(dataset, {}).items()}
    return [
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(dataset),
            check_name=name,
            passed=result.passed,
            severity=result.severity,
            metadata=result.metadata or {},
            description=result.description,
        )
        for name, result in made.items()
    ]

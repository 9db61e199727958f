"""Six attribution models over a million touchpoints, side by side, in under ten seconds on two cores."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from analytics.attribution import MICRO, attribute
from contracts.ads import MODELS, ad_rules

TOUCHES, CONVERSIONS, PEOPLE = 1_250_000, 250_000, 100_000
START = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000


def frames(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    def identity(size: int) -> dict[str, object]:
        people = pl.Series(rng.integers(0, PEOPLE, size)).cast(pl.String)
        return {name: pl.repeat("x", size, eager=True) for name in ("workspace", "network", "advertiser")} | {
            "actor": people
        }

    def times(first: int, last: int, size: int) -> pl.Series:
        moments = pl.Series(START + rng.integers(first * DAY, last * DAY, size))
        return moments.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")

    touches = pl.DataFrame(
        {
            **identity(TOUCHES),
            "touch_id": pl.int_range(TOUCHES, eager=True).cast(pl.String),
            "touch_at": times(0, 6, TOUCHES),
            "kind": np.array(["click", "engagement", "view"])[rng.integers(0, 3, TOUCHES)],
            "direct": rng.random(TOUCHES) < 0.2,
            "campaign": pl.Series(rng.integers(0, 20, TOUCHES)).cast(pl.String),
        }
    )
    conversions = pl.DataFrame(
        {
            **identity(CONVERSIONS),
            "conversion_id": pl.int_range(CONVERSIONS, eager=True).cast(pl.String),
            "converted_at": times(5, 7, CONVERSIONS),
            "revenue_minor": rng.integers(0, 100_000, CONVERSIONS),
        }
    )
    return touches, conversions


def test_six_models_over_a_million_touchpoints(figures: Any) -> None:
    touches, conversions = frames(np.random.default_rng(7))
    begun = time.perf_counter()
    credited = attribute(conversions, touches, ad_rules())
    seconds = time.perf_counter() - begun
    touchpoints = credited.filter(pl.col("touchpoints") > 0).height
    for model in MODELS:
        assert credited[f"credit_{model}"].sum() == MICRO * CONVERSIONS
        assert credited[f"revenue_{model}"].sum() == conversions["revenue_minor"].sum()
    figures.add(
        f"Six attribution models, {touchpoints:,} touchpoints of {CONVERSIONS:,} conversions",
        f"{seconds:.1f} s",
        target="a million in under 10 s",
        reached=touchpoints >= 1_000_000 and seconds < 10,
    )

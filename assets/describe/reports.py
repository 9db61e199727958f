"""Metadata of a build: numbers that the UI plots, tables that explain them.

Belongs here: choosing what of a report is worth looking at. Does not belong here: drawing.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import polars as pl

from assets.describe.markdown import table
from assets.describe.plots import bars
from assets.publishing.staging import BuildReport

Metadata = dict[str, dg.MetadataValue | float | int | str]


def of_build(report: BuildReport, seconds: float) -> Metadata:
    """Numbers, plot and tables of a sealed build."""
    sealed = report.sealed
    metadata: Metadata = {
        "dagster/row_count": int(sealed["rows"].sum()),
        "events": report.events,
        "buckets_published": report.published.height,
        "buckets_unchanged": report.unchanged.height,
        "buckets_failed": len(report.failed),
        "restatements": report.restatements,
        "seconds": round(seconds, 3),
        "build_id": report.build.id,
        "plot": events_plot(sealed),
        "buckets": table(sealed.sort("events", descending=True).select("bucket", "network", "rows", "events")),
    }
    if report.failed:
        metadata["failed"] = table(failures(report.failed))
    return metadata | {name: table(frame) for name, frame in report.details.items() if not frame.is_empty()}


def events_plot(sealed: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Events per bucket, stacked by network; the seven busiest networks, the others together."""
    busiest = (
        sealed.group_by("network").agg(pl.col("events").sum()).sort("events", descending=True)["network"].to_list()
    )
    named = busiest[:7]
    grouped = (
        sealed.with_columns(
            pl.when(pl.col("network").is_in(named)).then("network").otherwise(pl.lit("others")).alias("network")
        )
        .group_by("bucket", "network")
        .agg(pl.col("events").sum())
    )
    buckets = sealed["bucket"].unique().sort()
    frame = pl.DataFrame({"bucket": buckets})
    series = {}
    for network in [*named, *(["others"] if len(busiest) > len(named) else [])]:
        mine = frame.join(grouped.filter(pl.col("network") == network), on="bucket", how="left", maintain_order="left")
        series[network] = mine["events"].fill_null(0).to_list()
    days = buckets.dt.truncate("1d").n_unique() > 2
    labels = [f"{bucket:%d %b}" if days else f"{bucket:%H:%M}" for bucket in buckets]
    return bars("Events per bucket", labels, series)


def failures(failed: Mapping[tuple[object, str], str]) -> pl.DataFrame:
    """Pairs that were not published, and why."""
    rows = [(str(bucket), network, reason) for (bucket, network), reason in failed.items()]
    schema = {"bucket": pl.String(), "network": pl.String(), "reason": pl.String()}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("bucket", "network")

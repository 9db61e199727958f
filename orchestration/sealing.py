"""The job `seal`: any range, any networks, one run; and the function that `tally seal` calls.

Belongs here: Dagster's record of a sealing. Does not belong here: sealing (`assets.sealing`).

Why an op job beside the assets: an asset run covers a contiguous range of partitions and costs 19 ms per partition and
asset in Dagster's event log. Late data is sparse, and history is long: fifteen thousand hours over nine years would be
hundreds of thousands of partitions. This job does the same work with the same functions, in one run, and then reports
a materialization to each asset: one for the run, and one per published partition of the grid, up to `MOST_SQUARES`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from assets.connector_slices.build import SOURCE_TIMEOUT
from assets.describe.markdown import table
from assets.describe.reports import Metadata, failures, of_build
from assets.networks import on_grid
from assets.partitions import event_day_key, event_hour_key, ingest_hour_key
from assets.publishing.seals import HOURLY
from assets.publishing.staging import BuildReport
from assets.raw_events.asset import describe as describe_hours
from assets.raw_events.process import Stores
from assets.sealing import Sealed, SealRequest, seal_range
from orchestration.checks.after_sealing import evaluate
from orchestration.marks import networks_off_grid, unmarked
from orchestration.runs.dead import bury
from orchestration.runs.launcher import this_process
from orchestration.settings import Settings
from orchestration.stores import store_resources
from resources.clickhouse import Client
from resources.crashpoints import crashpoint
from resources.dagster_resources import ArchiveResource, ClickHouseResource, EventLogResource, RawStoreResource

MOST_SQUARES = 300
"""Partitions that one run marks as materialized per asset: at most six seconds of writing to Dagster's event log."""

GRID_HINT = "put its mapping into contracts/networks/, then `make down up`, then seal the range again"

SUMMARY_SCHEMA = {
    "dataset": pl.String(),
    "buckets": pl.Int64(),
    "published": pl.Int64(),
    "unchanged": pl.Int64(),
    "failed": pl.Int64(),
    "events": pl.Int64(),
    "restatements": pl.Int64(),
    "first": pl.Datetime("ms", "UTC"),
    "last": pl.Datetime("ms", "UTC"),
    "build_id": pl.String(),
}
"""One row per dataset that was built, and one `raw_events` with the messages archived (as events) before it."""


class SealConfig(dg.Config):
    """What to seal."""

    start: str = Field(description="First event hour, ISO 8601, e.g. 2026-05-01T00:00:00+00:00")
    end: str = Field(description="End of the range, exclusive, ISO 8601")
    networks: list[str] = Field(default_factory=list, description="Empty means all")
    cause: str = Field(default="seal", description="Written into seals and restatements")
    rebuild: bool = Field(default=False, description="Build again what nothing says is dirty")
    mark: bool = Field(default=False, description="Also mark in the UI what earlier runs of the range left without")
    source_timeout: float = Field(default=SOURCE_TIMEOUT, description="Seconds that one source may take")

    def request(self) -> SealRequest:
        """Raises ValueError for a time that is not ISO 8601 or has no zone, or an end before the start."""
        return SealRequest(
            start=_utc(self.start),
            end=_utc(self.end),
            networks=self.networks or None,
            cause=self.cause,
            rebuild=self.rebuild,
            source_timeout=self.source_timeout,
        )


class ProgressResource(dg.ConfigurableResource[None]):
    """Who is told how far a sealing is and what came of it, besides the run's log. By default nobody."""

    def tell(self, text: str) -> None:
        """A step begins."""

    def finished(self, sealed: Sealed) -> None:
        """All that could be sealed is sealed."""


@dg.op(
    name="seal_range",
    description="Archive what the raw group has read, then seal all hours of the range that are due, and their days.",
    pool="clickhouse_write",
)
def seal_range_op(
    context: dg.OpExecutionContext,
    config: SealConfig,
    *,
    event_log: EventLogResource,
    raw_store: RawStoreResource,
    archive: ArchiveResource,
    clickhouse: ClickHouseResource,
    progress: ProgressResource,
) -> None:
    """Seal, report to the assets, check that live equals sealed, and fail naming what could not be sealed."""

    def tell(text: str) -> None:
        context.log.info(text)
        progress.tell(text)

    with closing(event_log.open()) as log, closing(raw_store.open()) as raw, closing(clickhouse.open()) as client:
        stores = Stores(log, raw, archive.open(), client)
        sealed = seal_range(stores, config.request(), context.run_id, tell)
        progress.finished(sealed)
        crashpoint("seal.before_report")
        for event in _materializations(sealed):
            context.log_event(event)
        if config.mark:
            _mark(context, client, config.request(), tell)
        wrong = _check(context, client, sealed)
    summary = summarise(sealed)
    context.add_output_metadata(
        {
            "summary": table(summary.drop("build_id")),
            "incomplete": table(sealed.incomplete),
            "watermark": dg.MetadataValue.timestamp(sealed.watermark.at),
        }
    )
    tell(f"{int(summary['published'].sum()):,} buckets published, {int(summary['restatements'].sum()):,} restatements")
    failed: dict[tuple[object, str], str] = {
        (f"{dataset} {bucket}", network): text for (dataset, bucket, network), text in sealed.failed.items()
    }
    if failed or wrong:
        raise dg.Failure(
            f"{len(failed)} buckets were not sealed, {len(wrong)} checks failed: {'; '.join(wrong) or 'none'}",
            metadata={"failed": table(failures(failed))},
        )


@dg.job(
    name="seal",
    description=(
        "Seals any range of event time for any networks in one run: archives what is read, then builds and publishes "
        "all hours that are due, and the days they complete. The late-data sensor and `tally seal` use it."
    ),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "3600"},
)
def seal_job() -> None:
    """One op."""
    seal_range_op()


def seal(  # noqa: PLR0917 # callers name what they give where it is not plain
    settings: Settings,
    start: datetime,
    end: datetime,
    networks: Sequence[str] | None = None,
    cause: str = "seal",
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Sealed:
    """Run the job `seal` in this process, recorded in the settings' Dagster instance.

    Times are aware and half-open; `networks` None means all. What could not be sealed is in the answer's `failed`, and
    its run is recorded as failed. `summarise` makes a frame of the answer. Raises what hindered all of it: a store that
    is down (`*UnavailableError`), a time without a zone (ValueError).
    """
    from orchestration.instance import open_instance

    answer: list[Sealed] = []

    class Listener(ProgressResource):
        def tell(self, text: str) -> None:
            on_progress(text)

        def finished(self, sealed: Sealed) -> None:
            answer.append(sealed)

    config = {
        "start": start.astimezone(UTC).isoformat(),
        "end": end.astimezone(UTC).isoformat(),
        "networks": list(networks or ()),
        "cause": cause,
        "mark": True,
    }
    with open_instance(settings) as instance:
        bury(instance)
        try:
            seal_job.execute_in_process(
                run_config={
                    "ops": {"seal_range": {"config": config}},
                    "loggers": {"console": {"config": {"log_level": "ERROR"}}},
                },
                resources={**store_resources(settings), "progress": Listener()},
                instance=instance,
                tags={"tally/started_by": "command line", **this_process()},
            )
        except dg.Failure:
            if not answer:
                raise
    return answer[0]


def summarise(sealed: Sealed) -> pl.DataFrame:
    """SUMMARY_SCHEMA of a sealing."""
    rows: list[tuple[Any, ...]] = []
    if sealed.archived:
        hours = [result.hour for result in sealed.archived]
        messages = sum(int(result.account["accepted"].sum()) for result in sealed.archived)
        rows.append(("raw_events", len(hours), len(hours), 0, 0, messages, 0, min(hours), max(hours), ""))
    for report in sealed.reports:
        done = report.sealed
        rows.append(
            (
                report.build.dataset,
                done.height + len(report.failed),
                report.published.height,
                report.unchanged.height,
                len(report.failed),
                report.events,
                report.restatements,
                done["bucket"].min(),
                done["bucket"].max(),
                report.build.id,
            )
        )
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def _materializations(sealed: Sealed) -> Iterator[dg.AssetMaterialization]:
    now = datetime.now(UTC)
    for result in sealed.archived:
        metadata = describe_hours([result], 0.0)
        yield dg.AssetMaterialization("raw_events", partition=ingest_hour_key(result.hour), metadata=metadata)
    for report in sealed.reports:
        metadata = of_build(report, 0.0)
        key = event_hour_key if report.build.dataset in HOURLY else event_day_key
        published = report.published.sort("bucket", descending=True)
        squares = [(b, n) for b, n in published.select("bucket", "network").iter_rows() if on_grid(b, n, now)]
        for bucket, network in squares[:MOST_SQUARES]:
            yield dg.AssetMaterialization(
                report.build.dataset,
                partition=key(bucket, network),
                metadata={"build_id": report.build.id, "sealed_by": "job seal"},
            )
        yield dg.AssetMaterialization(report.build.dataset, metadata=_beyond(report, len(squares), metadata))


def _mark(
    context: dg.OpExecutionContext, clickhouse: Client, request: SealRequest, tell: Callable[[str], None]
) -> None:
    """Mark published partitions that have none, as many as one run may, and say which networks cannot have any."""
    period = (request.start, request.end)
    missing = list(unmarked(clickhouse, context.instance, period, request.networks))
    for event in missing[:MOST_SQUARES]:
        context.log_event(event)
    if missing:
        left = len(missing) - min(len(missing), MOST_SQUARES)
        rest = f"; {left:,} are left, sealing again marks more" if left else ""
        tell(f"marked {len(missing) - left:,} partitions in Dagster that earlier runs published without a mark{rest}")
    for network in networks_off_grid(clickhouse, period, request.networks):
        tell(f"network {network!r} is sealed, but Dagster shows no squares of it: {GRID_HINT}")


def _beyond(report: BuildReport, squares: int, metadata: Metadata) -> Metadata:
    return metadata | {
        "partitions_marked": min(squares, MOST_SQUARES),
        "published_without_a_mark": report.published.height - min(squares, MOST_SQUARES),
    }


def _check(context: dg.OpExecutionContext, clickhouse: Client, sealed: Sealed) -> list[str]:
    """Check what was published, tell Dagster, and return the names of checks that failed as errors."""
    failed = []
    for report in sealed.reports:
        pairs = report.published.select("bucket", "network")
        for evaluation in evaluate(clickhouse, report.build.dataset, pairs):
            context.instance.report_runless_asset_event(evaluation)
            if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
                failed.append(f"{report.build.dataset}: {evaluation.check_name}: {evaluation.description or ''}")
    return failed


def _utc(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add +00:00 for UTC")
    return at.astimezone(UTC)

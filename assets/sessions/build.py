"""Build sessions and their facts for any number of days in one build: stage, compare, restate, publish.

Belongs here: the order of the steps, and how much is in memory at once. Does not belong here: what a day is made of
(`sources`), the rule (`analytics.sessions`).

Days are taken in chunks of consecutive ones, and a chunk's people in shards, so that at most about `MOST_EVENTS` events
are in memory, whatever the scope. What a chunk hands on to the next is read back from the build itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from analytics.sessions import SESSION_EVENT_SCHEMA, SESSION_SCHEMA, not_in, sessionise
from assets.facts.build import fact_changes
from assets.partitions import DAY, SCOPE_SCHEMA
from assets.publishing.restate import Changes, restate
from assets.publishing.seals import NO_BUILD, Build, bounds, conform, newest_seals
from assets.publishing.sources import without
from assets.publishing.staging import STATS_SCHEMA, BuildReport, compare, publish_build, stage_scope
from assets.sessions.sources import LENGTH, checksums, handed_on, sources_of_sessions, stale_sessions
from assets.sessions.statements import (
    CHANGED_SESSIONS,
    SESSION_NUMBERS,
    events_of_chunk,
    facts_of_chunk,
    handed_to_chunk,
)
from assets.watermark import Watermark
from resources.clickhouse import Client, insert_frame, query_frame
from resources.crashpoints import crashpoint

MOST_EVENTS = 750_000

_PAIR = ["bucket", "network"]
_ROWS = {**SCOPE_SCHEMA, "rows": pl.UInt64(), "events": pl.UInt64()}
_MANY_MONTHS = {"max_partitions_per_insert_block": 0}  # a build may span many months


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive days `[first, end)` that the same networks have, and how many events they hold."""

    first: datetime
    end: datetime
    networks: tuple[str, ...]
    events: int


def build_sessions(
    clickhouse: Client, scope: pl.DataFrame, *, cause: str, run_id: str, force: bool = False
) -> BuildReport:
    """Build every (day, network) of the scope (SCOPE_SCHEMA) from published slices and publish what differs.

    `rows` and `events` of a seal are sessions and their events. A day whose hours are not all published, or whose next
    day's are not, is in `failed`. A day without events becomes an empty build. Sessions that are gone or hold other
    events than before are restated one by one (dimension `session`), beside the facts.
    """
    build = Build("sessions", cause, run_id)
    scope = scope.unique(maintain_order=True).select(list(SCOPE_SCHEMA))
    sources, refused = sources_of_sessions(clickhouse, scope)
    scope = without(scope, refused)
    if scope.is_empty():
        return BuildReport(build, failed=refused)
    sources = sources.join(scope, on=_PAIR, how="semi")
    newest = newest_seals(clickhouse, "sessions", scope)
    before = newest.select("bucket", "network", pl.col("build_id").alias("previous_build_id"))
    staged = scope.join(sources, on=_PAIR, how="left").join(before, on=_PAIR, how="left")
    stage_scope(
        clickhouse,
        build,
        staged.with_columns(
            pl.col("previous_build_id", "source_build_id").fill_null(NO_BUILD),
            pl.col("source_bucket").fill_null(pl.col("bucket")),
        ),
    )
    for chunk in chunks_of(scope, sources):
        _stage(clickhouse, build, chunk)
        crashpoint("sessions.chunk_staged")
    span = bounds(scope)
    handed = pl.concat(
        [
            handed_on(clickhouse, inside, build.id if own else None)
            for own, inside in _by_day_before(scope)
            if not inside.is_empty()
        ]
    )
    stats = (
        scope.join(_numbers(clickhouse, build, "build_id", span), on=_PAIR, how="left", maintain_order="left")
        .join(checksums(sources, handed), on=_PAIR, how="left", maintain_order="left")
        .with_columns(pl.col("rows", "events", "checksum").fill_null(0))
    )  # fmt: skip
    restated = restate(clickhouse, build, scope, _changes())
    if restated.height:
        crashpoint("restatements.written")
    held = _numbers(clickhouse, build, "previous_build_id", span)
    changed, unchanged = compare(
        newest, stats.select(list(STATS_SCHEMA)), newest.clear() if force else _intact(newest, held, restated)
    )
    publish_build(clickhouse, build, changed)
    return BuildReport(
        build,
        published=changed,
        unchanged=unchanged,
        restatements=int(restated["rows"].sum()),
        failed=refused,
        details={"restated": restated},
    )


def follow(
    clickhouse: Client, days: pl.DataFrame, watermark: Watermark, *, cause: str, run_id: str
) -> Iterator[BuildReport]:
    """Build those of the days (SCOPE_SCHEMA) that are complete and stale, then the days that these change, and so on.

    What a day hands on may change the next one; when it does not, the chain ends.
    """
    while True:
        due = stale_sessions(clickhouse, watermark.complete(days, LENGTH)).unique().sort("bucket", "network")
        if due.is_empty():
            return
        report = build_sessions(clickhouse, due, cause=cause, run_id=run_id)
        yield report
        days = next_days(report.published)


def next_days(days: pl.DataFrame) -> pl.DataFrame:
    """The day after each pair's, as a scope."""
    return days.select((pl.col("bucket") + DAY).cast(SCOPE_SCHEMA["bucket"]), "network")


def chunks_of(scope: pl.DataFrame, sources: pl.DataFrame, most_events: int = 4 * MOST_EVENTS) -> Iterator[Chunk]:
    """Cut the scope into runs of consecutive days with the same networks, of about so many events at most, in order."""
    own = sources.filter(pl.col("source_bucket") < pl.col("bucket") + DAY)
    per_day = (
        scope.join(own.group_by(_PAIR).agg(pl.col("source_events").sum()), on=_PAIR, how="left")
        .group_by("bucket")
        .agg(pl.col("network").sort(), pl.col("source_events").sum())
        .sort("bucket")
    )  # fmt: skip
    chunk: Chunk | None = None
    for day, networks, events in per_day.iter_rows():
        if chunk and (chunk.end, chunk.networks) == (day, tuple(networks)) and chunk.events + events <= most_events:
            chunk = Chunk(chunk.first, day + DAY, chunk.networks, chunk.events + events)
            continue
        if chunk:
            yield chunk
        chunk = Chunk(day, day + DAY, tuple(networks), events)
    if chunk:
        yield chunk


def _stage(clickhouse: Client, build: Build, chunk: Chunk) -> None:
    """Cut and write the sessions that start in a chunk, shard by shard, and then its facts."""
    given = {
        "build_id": build.id,
        "networks": list(chunk.networks),
        "from_s": int(chunk.first.timestamp()),
        "end_s": int(chunk.end.timestamp()),
        "to_s": int((chunk.end + DAY).timestamp()),
    }
    shards = -(-chunk.events // MOST_EVENTS)
    parts = [{**given, "shards": shards, "shard": shard} for shard in range(shards)]
    with ThreadPoolExecutor(max_workers=1) as ahead:  # ClickHouse reads the next shard while this one is cut
        reading = [ahead.submit(_events_of, clickhouse, part) for part in parts[:1]]
        for shard in range(shards):
            events = reading.pop().result()
            reading += [ahead.submit(_events_of, clickhouse, part) for part in parts[shard + 1 : shard + 2]]
            cut = sessionise(events).filter(pl.col("started_at") < chunk.end)
            day = pl.col("started_at").dt.truncate("1d").alias("bucket")
            rows = cut.select(pl.lit(build.id).alias("build_id"), day, *SESSION_SCHEMA)
            token = f"sessions/{build.id}/{chunk.first:%Y-%m-%d}/{shard}"
            insert_frame(clickhouse, "sessions_builds", rows, token=token)
    if shards:
        clickhouse.command(facts_of_chunk(), parameters=given, settings=_MANY_MONTHS)


def _events_of(clickhouse: Client, part: Mapping[str, object]) -> pl.DataFrame:
    """The events of a shard (SESSION_EVENT_SCHEMA) that are in no session of the day before the chunk."""
    taken = query_frame(clickhouse, handed_to_chunk(), part)
    events = conform(query_frame(clickhouse, events_of_chunk(), part), SESSION_EVENT_SCHEMA)
    if taken.is_empty():
        return events
    return not_in(events, taken.with_columns(pl.col(name).cast(SESSION_SCHEMA[name]) for name in taken.columns))


def _by_day_before(scope: pl.DataFrame) -> tuple[tuple[bool, pl.DataFrame], ...]:
    """The pairs whose day before is in the scope too, and the others."""
    following = next_days(scope)
    return (True, scope.join(following, on=_PAIR, how="semi")), (False, scope.join(following, on=_PAIR, how="anti"))


def _numbers(clickhouse: Client, build: Build, which: str, span: dict[str, int]) -> pl.DataFrame:
    return conform(query_frame(clickhouse, SESSION_NUMBERS.format(which=which), {"build_id": build.id, **span}), _ROWS)


def _intact(newest: pl.DataFrame, held: pl.DataFrame, restated: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose published build holds what its seal says and equals the staged one."""
    return (
        newest.join(held.rename({"rows": "held_rows", "events": "held_events"}), on=_PAIR, how="left")
        .join(restated, on=_PAIR, how="anti")
        .filter(pl.col("held_rows").fill_null(0) == pl.col("rows"))
        .filter(pl.col("held_events").fill_null(0) == pl.col("events"))
        .select(list(SCOPE_SCHEMA))
    )


def _changes() -> Changes:
    facts = fact_changes("sessions")
    return Changes(f"{facts.rows}\nUNION ALL\n{CHANGED_SESSIONS}", sealed_bucket=facts.sealed_bucket)

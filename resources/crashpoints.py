"""Named places where a process may be killed on purpose, so that tests can prove that it does not matter.

Belongs here: the list of places and the one function. Does not belong here: why a place is harmless (each is called
where that is explained), the tests (`tests/faults`).
"""

from __future__ import annotations

import os
import signal

POINTS: dict[str, str] = {
    # input
    "intake.before_append": "rows are judged, nothing is appended",
    "intake.between_topics": "one topic's messages are durable, those of the next are not",
    "intake.after_append": "everything is durable, nobody has been told",
    "event_log.append.before_commit": "messages are in SQLite's transaction, which is not committed",
    "event_log.append.after_commit": "the transaction is committed, the appender does not know",
    # both groups' workers
    "worker.handing_over": "partitions are being taken away in a rebalance",
    "worker.settling": "partitions were assigned, what they announce was not looked at",
    "worker.after_announce": "a batch is announced, nothing of it is written",
    "worker.after_write": "a batch is written, its offsets are not committed",
    "worker.before_commit": "about to close one batch and announce the next",
    "worker.after_commit": "the commit is made, the worker has not acted on it",
    "worker.before_recovery_commit": "another life's batch was written again, its offsets are not committed",
    "raw.after_events": "events are in the raw store, refused rows of the batch are not",
    "raw.after_quarantine": "all of a batch is in the raw store, its offsets are not committed",
    "raw_store.mongodb.between_inserts": "MongoDB has the new events of a batch, not its duplicates",
    "live.after_lookup": "known ids were looked up, nothing is inserted",
    "live.after_events": "new events are in ClickHouse, the batch's other verdicts are not",
    "live.after_rejects": "all of a batch is in ClickHouse, its offsets are not committed",
    "live_ads.rows_written": "ads of open hours are made anew, readers see what was made before",
    # archive
    "archive.object_written": "a part's object is there, its manifest is not",
    "archive.manifest_written": "a part is live, nobody has been told",
    "archive.manifest_deleted": "a replaced part's manifest is gone, its object is not",
    "archive.object_deleted": "one of several dead objects is gone",
    "archive_index.between_tables": "ClickHouse knows a part's contents, not its ranges",
    "raw_events.archived": "an ingest hour is archived, not closed",
    "raw_events.closed": "an ingest hour's parts are merged, ClickHouse's index still names the old ones",
    # sealing
    "slices.chunk_staged": "a part of a slice is staged",
    "rollup.staged": "a rollup is staged, not compared with what is published",
    "restatements.written": "what a build changes is written down, the build is not published",
    "publish.connector_slices.before": "slices are staged, readers see the build before",
    "publish.connector_slices.after": "slices are published, the hours over them are not",
    "publish.engagement_hourly.before": "hours are staged, readers see the build before",
    "publish.engagement_hourly.after": "hours are published, the days over them are not, nobody has been told",
    "publish.engagement_daily.before": "days are staged, readers see the build before",
    "publish.engagement_daily.after": "days are published, nobody has been told",
    "seal.before_report": "the job has sealed everything and reported no materialization to Dagster",
    "sessions.chunk_staged": "the sessions of some days are staged, those of others are not",
    "live_sessions.written": "live sessions are written, the position they stand for is not",
    "publish.sessions.before": "sessions are staged, readers see the build before",
    "publish.sessions.after": "sessions are published, nobody has been told",
    "publish.ads.before": "ad performance is staged, readers see the build before",
    "publish.ads.after": "ad performance is published, what ads earned is not",
    "publish.ad_returns.before": "what ads earned is staged, readers see the build before",
    "publish.ad_returns.after": "what ads earned is published, nobody has been told",
    "publish.trends.before": "trending boards are staged, readers see the build before",
    "publish.trends.after": "trending boards are published, nobody has been told",
    "purge.between_deletions": "rows of an unpublished build are gone, its scope is not",
    # repair
    "quarantine.after_append": "replayed rows are in the log, still marked open",
    "quarantine.after_mark": "one group of rows is replayed, the next is not",
    "replay.raw_written": "the raw store is mended, ClickHouse is not",
    "replay.live_written": "events are mended, rollups of their hours are not",
    "replay.rollups_deleted": "rollups of wrong hours are deleted, not computed again",
    "rebuild.truncated": "live tables are empty, not filled from the log",
    "migrate.between_statements": "some of the schema's statements have run",
}
"""Every place, and what is true there. A test in `tests/faults` dies at each of them."""

_passed = 0


def crashpoint(name: str) -> None:
    """Send SIGKILL to this process when `TALLY_CRASH_AT` equals `name`; otherwise do nothing.

    `TALLY_CRASH_AFTER=n` kills at the n-th passage instead of the first. Raises ValueError when `POINTS` has no such
    name, also for the one in `TALLY_CRASH_AT`: a test that waits for a crash which cannot come proves nothing.
    """
    global _passed  # noqa: PLW0603 - a process counts its own passages
    at = os.environ.get("TALLY_CRASH_AT", "")
    for given in (name, at):
        if given and given not in POINTS:
            raise ValueError(f"crash point {given!r} is not in resources.crashpoints.POINTS")
    if name != at:
        return
    _passed += 1
    if _passed >= int(os.environ.get("TALLY_CRASH_AFTER", "1")):
        os.kill(os.getpid(), signal.SIGKILL)

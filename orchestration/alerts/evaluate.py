"""Evaluating rules: the same question as `tally query`, complete buckets only, group by group.

Belongs here: asking and stepping through new buckets. Does not belong here: verdicts (`analytics.incidents`), memory
(`store`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics.incidents import GRAINS, IncidentState, Verdict, lookback, opened_by, step, verdicts
from contracts.alerts.model import Rule
from orchestration.alerts.store import AlertStore, Incident
from resources.clickhouse import Client
from serving.progress import read_progress
from serving.query import MetricQuery, answer

MOST_CATCH_UP = timedelta(days=30)
"""Buckets that closed longer ago than this while nobody evaluated are passed over."""

SETTLING = timedelta(hours=2)
"""How far behind the clock the newest complete bucket of a metric may be, at most, besides its own length."""


def evaluate(client: Client, store: AlertStore, rule: Rule, now: datetime) -> list[Incident]:
    """Judge every bucket that became complete since the last time; return the incidents that this opened.

    A rule or group that was never judged begins with the newest complete bucket: the past raises no alert.
    Raises QueryError for a metric, dimension or filter that does not exist, and what the store raises.
    """
    known = {member: store.state(rule, member) for member in store.members(rule)}
    begun = [state.through for state in known.values() if state.through is not None]
    size = GRAINS[rule.grain]
    complete_until = read_progress(client, now, None).complete_until
    if complete_until is None or (begun and min(begun) + size > complete_until):
        return []
    newest = now - SETTLING - (rule.open_after + 1) * size
    first = max(min([*begun, newest]), now - MOST_CATCH_UP)
    opened = []
    for member, series in series_of(client, rule, lookback(rule, first), now, list(known)):
        state = known.get(member, IncidentState())
        judged = verdicts(rule, series)
        new = [v for v in judged if state.through is None or v.bucket >= state.through]
        for verdict in new[-rule.open_after :] if state.through is None else new:
            state, happened = step(rule, _joined(state, verdict), verdict)
            incident = store.commit(rule, member, state, verdict if happened == "opened" else None, now)
            opened += [incident] if incident else []
    return opened


def rehearse(client: Client, rule: Rule, start: datetime, now: datetime) -> list[tuple[str, Verdict]]:
    """What the rule would have told about `[start, now)`: (group, verdict) of each incident. Remembers nothing."""
    found = []
    for member, series in series_of(client, rule, lookback(rule, start), now, []):
        judged = [verdict for verdict in verdicts(rule, series) if verdict.bucket >= start]
        found += [(member, verdict) for verdict in opened_by(rule, judged)]
    return sorted(found, key=lambda pair: pair[1].bucket)


def series_of(
    client: Client, rule: Rule, start: datetime, now: datetime, members: list[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each group (`network=app`) and its series: bucket, value, complete. Groups of `members` that fell silent too."""
    size = GRAINS[rule.grain]
    begin, end = _floor(start, size), _floor(now, size) + size
    found = answer(client, MetricQuery(
        rule.metric, tuple(rule.by), begin, end, rule.grain,
        workspace=rule.workspace, filters=rule.where,
    ), now)  # fmt: skip
    columns = ["bucket", "value", "complete"]
    if not rule.by:
        yield "", found.frame.select(columns)
        return
    plain = answer(client, MetricQuery("events", (), begin, end, rule.grain, workspace=rule.workspace), now)
    grid = plain.frame.select("bucket", settled="complete")
    through = found.complete_through
    groups = {
        ",".join(f"{name}={value}" for name, value in zip(rule.by, key, strict=True)): group
        for key, group in found.frame.group_by(*rule.by)
    }
    for member in sorted({*groups, *members}):
        rows = groups[member].select(columns) if member in groups else found.frame.clear().select(columns)
        # A group without a row in a bucket has nothing there; the bucket is as complete as it is for everybody.
        settled = pl.col("settled") & (pl.lit(through is not None) & (pl.col("bucket") < (through or begin)))
        yield (
            member,
            grid.join(rows, on="bucket", how="left", maintain_order="left").select(
                "bucket", "value", complete=pl.coalesce("complete", settled)
            ),
        )


def _joined(state: IncidentState, verdict: Verdict) -> IncidentState:
    """A gap in what was judged (nobody evaluated for a month) ends every row of buckets."""
    gap = state.through is not None and verdict.bucket > state.through
    return replace(state, bad_in_a_row=0, good_in_a_row=0) if gap else state


def _floor(moment: datetime, size: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // size * size

"""The state of a stack as data: processes, lag, last seal, quarantine, disk.

Belongs here: gathering; a store that does not answer becomes a `problem`, never an exception. Does not belong here:
printing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.settings import Settings
from orchestration.stack.memory import Usage, usage
from orchestration.stack.mending import start_abandoned
from orchestration.stack.paths import StackPaths
from orchestration.stack.stores import event_log, raw_store
from orchestration.stack.supervisord import ProcessState, Supervisor, running_pid

if TYPE_CHECKING:
    from serving.audit.record import AuditProgress


@dataclass(frozen=True, slots=True)
class ProcessReport:
    name: str
    state: str
    detail: str
    pid: int | None = None
    uptime_seconds: float | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a consumer group is behind: messages, and seconds since the oldest message it has not taken."""

    group: str
    messages: int
    seconds: float
    processed: int


@dataclass(frozen=True, slots=True)
class LastSeal:
    dataset: str
    bucket: datetime
    network: str
    sealed_at: datetime
    buckets: int


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A task of the publisher: when it last succeeded, and how long that took."""

    name: str
    last_success: datetime | None
    seconds: float
    problem: str


@dataclass(slots=True)
class StackStatus:
    """Everything `tally status` shows. `problems` has one line per thing that could not be asked or is not well.

    `live_until`: the newest event_time. `watermark`: every partition's events before it are queryable.
    """

    home: Path
    running: bool
    processes: list[ProcessReport] = field(default_factory=list)
    lag: list[GroupLag] = field(default_factory=list)
    seals: list[LastSeal] = field(default_factory=list)
    live_until: datetime | None = None
    watermark: datetime | None = None
    quarantine_open: int | None = None
    tasks: list[TaskReport] = field(default_factory=list)
    audit: AuditProgress | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def memory(self) -> int:
        """Bytes of all processes, shared pages counted once."""
        return sum(process.usage.pss for process in self.processes if process.usage)


def gather(settings: Settings) -> StackStatus:
    """Ask supervisord, the operating system and the stores. Raises nothing of theirs."""
    paths = StackPaths(settings.home)
    pid = running_pid(paths)
    status = StackStatus(home=settings.home, running=pid is not None)
    if pid is None:
        return status
    _ask(status, "supervisord", lambda: _abandoned(status, paths))
    _ask(status, "supervisord", lambda: _processes(status, paths, pid))
    _ask(status, "event log", lambda: _lag(status, settings))
    _ask(status, "raw store", lambda: _quarantine(status, settings))
    _ask(status, "ClickHouse", lambda: _clickhouse(status, settings))
    _ask(status, "publisher", lambda: _tasks(status, paths))
    _ask(status, "audit", lambda: _audit(status, settings))
    return status


def _ask(status: StackStatus, name: str, question: Callable[[], None]) -> None:
    try:
        question()
    except Exception as error:  # each store has its own errors, and a report must survive all of them
        status.problems.append(f"{name}: {error}")


def _abandoned(status: StackStatus, paths: StackPaths) -> None:
    for process in start_abandoned(paths.home):
        status.problems.append(f"{process} was left stopped by a repair or replay that was killed; it is started again")


def _processes(status: StackStatus, paths: StackPaths, supervisord: int) -> None:
    states = Supervisor(paths).states()
    pids = [state.pid for state in states.values() if state.pid]
    measured = usage([*pids, supervisord])
    now = time.time()
    children = sum((measured[pid].pss for pid in pids if pid in measured), 0)
    for state in states.values():
        status.processes.append(
            ProcessReport(
                name=state.name,
                state=state.state,
                detail=state.detail,
                pid=state.pid,
                uptime_seconds=now - state.started_at.timestamp() if state.started_at else None,
                usage=measured.get(state.pid) if state.pid else None,
            )
        )
        if not state.running:
            status.problems.append(f"{state.name} is {state.state}: {_why(state)}; see {paths.log(state.name)}")
    whole = measured.get(supervisord)
    if whole:
        own = Usage(rss=0, pss=max(0, whole.pss - children), cpu=0.0, children=whole.children)
        status.processes.append(ProcessReport("supervisord", "RUNNING", "", supervisord, None, own))


def _why(state: ProcessState) -> str:
    return state.detail or "no reason given"


def _lag(status: StackStatus, settings: Settings) -> None:
    from contracts.event_types import TOPICS
    from resources.event_log.base import OffsetRange, TopicPartition
    from streaming.topics import GROUPS

    with event_log(settings) as log:
        marks = {
            TopicPartition(topic, partition): bounds
            for topic in TOPICS
            for partition, bounds in log.watermarks(topic).items()
        }
        now_ms = time.time() * 1000
        for group in GROUPS:
            commits = log.group_commits(group)
            behind, processed, oldest = 0, 0, now_ms
            for place, (low, high) in marks.items():
                offset = max(commits[place].offset, low) if place in commits else low
                processed += offset - low
                if offset < high:
                    behind += high - offset
                    for messages in log.read([OffsetRange(*place, offset, offset + 1)], 1):
                        oldest = min(oldest, messages.timestamps[0])
            status.lag.append(GroupLag(group, behind, max(0.0, (now_ms - oldest) / 1000), processed))


def _quarantine(status: StackStatus, settings: Settings) -> None:
    with raw_store(settings) as store:
        counts = store.quarantine_counts()
    status.quarantine_open = int(counts.filter(counts["status"] == "open")["rows"].sum())


def _tasks(status: StackStatus, paths: StackPaths) -> None:
    from streaming.worker.stats import read_stats

    for name, task in ((read_stats(paths.publisher_stats) or {}).get("tasks") or {}).items():
        at = task["last_success_ms"]
        last = datetime.fromtimestamp(at / 1000, UTC) if at else None
        status.tasks.append(TaskReport(name, last, task["last_run_seconds"], task["problem"]))
        if task["problem"]:
            status.problems.append(f"publisher: task {name} fails: {task['problem']}")


def _audit(status: StackStatus, settings: Settings) -> None:
    from resources.clickhouse import open_clickhouse
    from serving.audit.record import read_progress

    status.audit = read_progress(open_clickhouse(settings.clickhouse_url))
    if status.audit and status.audit.findings:
        status.problems.append(
            f"audit: {status.audit.findings:,} damaged rows; `tally audit` names, `tally repair` mends"
        )


def _clickhouse(status: StackStatus, settings: Settings) -> None:
    from resources.clickhouse import open_clickhouse
    from serving.progress import read_progress

    client = open_clickhouse(settings.clickhouse_url)
    seals = client.query(
        "SELECT dataset, max(bucket), argMax(network, sealed_at), max(sealed_at), uniqExact(bucket, network)"
        " FROM seals GROUP BY dataset ORDER BY dataset"
    ).result_rows
    status.seals = [LastSeal(*row) for row in seals]
    status.watermark = read_progress(client, datetime.now(UTC), None).watermark
    newest = client.query("SELECT max(event_time), count() FROM events").result_rows[0]
    status.live_until = newest[0] if newest[1] else None

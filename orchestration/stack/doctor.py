"""Is this machine, and are these settings, fit to run the stack? One finding per question, each with its fix.

Belongs here: looking. Does not belong here: changing anything, printing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import psutil

from orchestration.settings import Settings
from orchestration.stack.lifecycle import is_running
from orchestration.stack.plan import Phase, plan
from orchestration.stack.ports import describe_holder, is_free
from orchestration.stack.servers import missing
from orchestration.stack.stores import event_log, raw_store

Level = Literal["ok", "warn", "fail"]

STACK_MEMORY = 2.5 * 1024**3
DISK_WARN = 10 * 1024**3
DISK_FAIL = 1024**3
_AUDITOR_SILENT = timedelta(minutes=10)
_SHOWN_VERSIONS = ("dagster", "chdb", "clickhouse-connect", "polars", "confluent-kafka", "redis", "dbt-core")


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` says what to do; empty when all is well."""

    level: Level
    name: str
    detail: str
    fix: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield one finding after the other; nothing is raised and nothing is changed."""
    yield _python()
    yield _versions()
    yield _memory()
    yield from _folder(settings.home)
    yield from _engines(settings)
    running = is_running(settings)
    detail = f"running in {settings.home}" if running else f"not running in {settings.home}"
    yield Finding("ok", "stack", detail)
    if running:
        yield from _processes(settings)
    else:
        yield from _ports(settings)
    yield from _stores(settings, running=running)
    if running:
        yield _audit(settings)


def _python() -> Finding:
    return Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")


def _versions() -> Finding:
    found, missing = [], []
    for name in _SHOWN_VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("fail", "packages", f"missing: {', '.join(missing)}", "make setup")
    return Finding("ok", "packages", ", ".join(found))


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    detail = f"{memory.available / 1024**3:.1f} GB available of {memory.total / 1024**3:.1f} GB"
    if memory.total < STACK_MEMORY:
        return Finding("fail", "memory", detail, "the whole stack takes up to 2.5 GB: use a larger machine")
    if memory.available < STACK_MEMORY:
        return Finding("warn", "memory", detail, "the whole stack takes up to 2.5 GB: end something else")
    return Finding("ok", "memory", detail)


def _folder(home: Path) -> Iterator[Finding]:
    existing = home
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        yield Finding("fail", "folder", f"{home} cannot be written", "set TALLY_HOME to a folder of yours")
        return
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1024**3:.1f} GB free for {home}"
    if free < DISK_FAIL:
        yield Finding("fail", "disk", detail, "free some space, or set TALLY_HOME to a larger disk")
    elif free < DISK_WARN:
        yield Finding("warn", "disk", detail, "ten million events take about 5 GB: watch it")
    else:
        yield Finding("ok", "disk", detail)


def _engines(settings: Settings) -> Iterator[Finding]:
    for spec in plan(settings):
        if spec.phase is Phase.ENGINES:
            yield Finding("ok", f"{spec.name} engine", " ".join(spec.command))
    lacking = missing()
    detail = "Kafka, MongoDB's protocol, S3 and PostgreSQL can be run here (`tally up --engines servers`)"
    if lacking:
        level: Level = "fail" if settings.engines == "servers" else "ok"
        yield Finding(level, "servers", "a stack on servers is not possible yet", "; ".join(lacking))
    else:
        yield Finding("ok", "servers", detail)


def _ports(settings: Settings) -> Iterator[Finding]:
    uses = [spec.port for spec in plan(settings) if spec.port]
    taken = [use for use in uses if not is_free(use.port, use.host)]
    for use in taken:
        detail = f"{use.port} for {use.owner} is in use by {describe_holder(use.port)}"
        yield Finding("fail", "port", detail, f"stop it, or set {use.setting} to a free port")
    if not taken:
        yield Finding("ok", "ports", "free: " + ", ".join(str(use.port) for use in uses))


def _processes(settings: Settings) -> Iterator[Finding]:
    for spec in plan(settings):
        problem = spec.ready.problem()
        if problem:
            yield Finding(
                "fail", spec.name, problem, f"read {settings.home}/logs/{spec.name}.log; `tally up` restarts it"
            )
        else:
            yield Finding("ok", spec.name, "answers")


def _stores(settings: Settings, *, running: bool) -> Iterator[Finding]:
    def ping_log() -> None:
        with event_log(settings) as log:
            log.ping()

    def ping_raw() -> None:
        with raw_store(settings) as store:
            store.ping()

    def ping_archive() -> None:
        from resources.archive import open_archive

        open_archive(settings.archive_url).ping()

    def ping_clickhouse() -> None:
        from resources.clickhouse import open_clickhouse

        open_clickhouse(settings.clickhouse_url).query("SELECT 1")

    def ping_cache() -> None:
        from resources.cache import open_cache

        open_cache(settings.cache_url).ping()

    yield _store("event log", settings.event_log_url, ping_log)
    yield _store("raw store", settings.raw_store_url, ping_raw)
    yield _store("archive", settings.archive_url, ping_archive)
    if running or not settings.clickhouse_is_local:
        yield _store("ClickHouse", settings.clickhouse_url, ping_clickhouse)
    if running or not settings.redis_is_local:
        yield _store("cache", settings.cache_url, ping_cache)


def _audit(settings: Settings) -> Finding:
    """What the auditor process has found, and whether it is at work."""
    from resources.clickhouse import open_clickhouse
    from serving.audit.record import read_progress

    try:
        progress = read_progress(open_clickhouse(settings.clickhouse_url))
    except Exception as error:  # as below
        return Finding("warn", "audit", str(error), "mend ClickHouse first")
    if progress is None:
        return Finding("ok", "audit", "the auditor has not begun yet; `tally audit` compares all stores now")
    if progress.findings:
        detail = f"{progress.findings:,} damaged rows"
        return Finding("fail", "audit", detail, "`tally audit` names them, `tally repair` puts them right")
    silent = datetime.now(UTC) - progress.at
    if silent > _AUDITOR_SILENT:
        detail = f"the auditor was last seen {silent.total_seconds() / 60:.0f} minutes ago"
        return Finding("warn", "audit", detail, f"read {settings.home}/logs/auditor.log")
    if not progress.round_seconds:
        share = f"{progress.covered:,} of {progress.positions:,} log positions"
        return Finding("ok", "audit", f"nothing damaged so far; first round, {share}")
    return Finding("ok", "audit", f"nothing damaged; all history is compared every {progress.round_seconds:.0f} s")


def _store(name: str, url: str, ping: Callable[[], None]) -> Finding:
    shown = without_credentials(url)
    try:
        ping()
    except Exception as error:  # every store has its own errors; a doctor names them all
        return Finding("fail", name, f"{shown}: {error}", "check the URL and whether the server runs")
    return Finding("ok", name, shown)


def without_credentials(url: str) -> str:
    """Return the URL without user and password: fit to print."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"

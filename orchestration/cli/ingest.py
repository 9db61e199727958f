"""`ingest`: files into the event log, and what became of every row.

Belongs here: arguments, progress, the account's table. Does not belong here: loading (`streaming.sources.files`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, bad, err, good, out, print_json, table
from orchestration.cli.progress import bar
from orchestration.cli.times import duration, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contracts.mapping import Mapping as NetworkMapping
    from orchestration.settings import Settings
    from resources.event_log.base import EventLog
    from streaming.sources.files import IngestAccount

PROCESS_SECONDS = 600.0


@dataclass(slots=True)
class LoadReport:
    """The account of one load. Rows: `read = accepted + quarantined`; events: `events = stored + duplicate`.

    `queryable_seconds` is from the first byte read to the last row visible in ClickHouse; None when it was not waited
    for. `reasons` counts quarantined rows.
    """

    receipt_id: str
    read: int
    accepted: int
    events: int
    quarantined: int
    reasons: Mapping[str, int]
    stored: int | None = None
    duplicate: int | None = None
    append_seconds: float = 0.0
    queryable_seconds: float | None = None
    unknown_fields: Mapping[str, int] | None = None
    type_changes: Mapping[str, int] | None = None
    fault: str = ""

    @property
    def balanced(self) -> bool:
        """Every row has a verdict, and every event that was accepted is stored or known."""
        rows = self.read == self.accepted + self.quarantined
        if self.stored is None or self.duplicate is None:
            return rows
        return rows and self.events == self.stored + self.duplicate


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Events")(ingest)


def ingest(
    files: Annotated[list[Path], typer.Argument(help="NDJSON, CSV or text, plain, gzip or zstd.")],
    *,
    network: Annotated[str | None, typer.Option(help="A mapping by name; `tally mapping list`.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="A mapping file of your own (.yaml).")] = None,
    workspace: Annotated[str | None, typer.Option(help="Workspace (default: that of the first write key).")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the rows can be queried.")] = True,
    json: JsonFlag = False,
) -> None:
    """Load files and account for every row: read, accepted, stored, duplicate, quarantined by reason.

    Loading a file twice gives no event twice: its rows are then `duplicate`. Refused rows, which have no id, come
    into quarantine once more. Exit code 1 when not one row was accepted, the account does
    not balance, or the load ended early; what was read before is in the account.

    Example: [bold]tally ingest edits.json.gz --network wikipedia[/]

    Example: [bold]tally ingest day1.csv day2.csv --mapping my_network.yaml[/]
    """
    from contracts.mapping import load_mapping
    from orchestration.stack.lifecycle import is_running

    if (network is None) == (mapping is None):
        raise CliError("give either --network NAME or --mapping FILE", hint="`tally mapping list` shows the names")
    settings = load_settings()
    loaded = load_mapping(network or mapping or "")
    if wait and not is_running(settings) and settings.event_log_url.startswith("sqlite:"):
        raise CliError(
            f"no stack runs in {settings.home}, so nobody would store the rows",
            hint="`tally up` starts it; --no-wait only appends to the event log",
            code=ExitCode.UNAVAILABLE,
        )
    report = load_files(settings, files, loaded, workspace or default_workspace(settings), wait=wait)
    if json:
        print_json({**_fields(report), "balanced": report.balanced})
    else:
        show_report(report)
    warn_of_refused(report)
    if mapping is not None and report.accepted:
        tell_of_grid(loaded)
    if report.fault:
        err().print(f"error: {report.fault}", markup=False, style="bold red")
    if report.fault or not report.balanced or not report.accepted:
        raise typer.Exit(ExitCode.PROBLEM)


def default_workspace(settings: Settings) -> str:
    return settings.write_keys.get_secret_value().split(",")[0].partition("=")[0].strip()


def load_files(
    settings: Settings, files: Sequence[Path], mapping: NetworkMapping, workspace: str, *, wait: bool = True
) -> LoadReport:
    """Append the files to the log, wait for both groups, and ask the raw store for the receipt's account.

    Raises what ended the load when nothing had been read by then.
    """
    from orchestration.stack.stores import event_log, raw_store
    from streaming.sources.files import IngestError, LoadProgress, ingest_files
    from streaming.topics import create_topics

    begun = time.monotonic()
    total = sum(path.stat().st_size for path in files if path.exists())
    before: dict[Path, int] = {}
    with event_log(settings) as log:
        create_topics(log, settings.topic_partitions, settings.retention_days)
        with bar("ingest", total=total, unit="bytes") as advance:

            def on_progress(progress: LoadProgress) -> None:
                before[progress.path] = progress.bytes_read
                advance(sum(before.values()))

            try:
                account = ingest_files(files, mapping, log, workspace, on_progress)
            except IngestError as error:
                if not error.account.read:
                    raise error.__cause__ or error from None
                account = error.account
        report = _report(account, time.monotonic() - begun)
        if wait and account.ranges:
            await_groups(log, account)
            report.queryable_seconds = time.monotonic() - begun
            with raw_store(settings) as store:
                receipt = store.receipt(account.receipt_id)
            report.stored, report.duplicate = int(str(receipt["stored"])), int(str(receipt["duplicate"]))
    return report


def await_groups(log: EventLog, account: IngestAccount, timeout: float = PROCESS_SECONDS) -> None:
    """Wait until both groups have what was loaded. Raises CliError when that takes longer than `timeout` seconds."""
    from streaming.sources.files import wait_until_processed
    from streaming.topics import GROUPS

    ranges = list(account.ranges.values())
    messages = sum(place.end - place.start for place in ranges)
    with bar("store", total=messages, unit="messages") as advance:
        done = wait_until_processed(log, GROUPS, ranges, timeout, lambda left: advance(messages - left))
    if not done:
        raise CliError(
            f"the rows are safe in the event log (receipt {account.receipt_id}), but not stored after {timeout:.0f} s",
            hint="`tally status` shows which worker is behind",
            code=ExitCode.UNAVAILABLE,
        )


def _report(account: IngestAccount, seconds: float) -> LoadReport:
    return LoadReport(
        receipt_id=account.receipt_id,
        read=account.read,
        accepted=account.accepted,
        events=account.events,
        quarantined=sum(account.quarantined.values()),
        reasons=dict(account.quarantined.most_common()),
        append_seconds=seconds,
        unknown_fields=dict(account.unknown_fields),
        type_changes=dict(account.type_changes),
        fault=account.fault,
    )


def _fields(report: LoadReport) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(report)


def warn_of_refused(report: LoadReport) -> None:
    """Say on stderr that a load came to nothing, or to little, and how to see why."""
    if not report.read:
        if not report.fault:
            err().print("error: the files hold no rows", style="bold red")
    elif report.quarantined > report.accepted:
        most = max(report.reasons, key=lambda reason: report.reasons[reason])
        share = "NOT ONE ROW WAS ACCEPTED" if not report.accepted else "most rows were refused"
        err().print(
            f"{share}: {number(report.quarantined)} of {number(report.read)} are in quarantine. Is it the right"
            f" mapping? `tally quarantine show --reason {most}` shows rows and why",
            markup=False,
            style="bold red",
        )


def tell_of_grid(mapping: NetworkMapping) -> None:
    """Say on stderr when Dagster will show no squares of what was loaded, and what to do about it."""
    from contracts.mapping import named_networks

    for name in sorted(mapping.networks - named_networks()):
        err().print(
            f"network {name!r} can be queried and sealed; for squares in Dagster put its mapping into"
            " contracts/networks/, then `make down up`, then `tally seal` the range (again)",
            markup=False,
        )


def show_report(report: LoadReport, title: str = "Account of this load") -> None:
    """Print the account, with the rate and how long it took until the last row could be queried."""
    rows: list[tuple[object, object]] = [("rows read", number(report.read)), ("rows accepted", number(report.accepted))]
    if report.events != report.accepted:
        rows.append(("events (a row may give several)", number(report.events)))
    if report.stored is not None:
        rows += [("stored", number(report.stored)), ("duplicate", number(report.duplicate))]
    rows.append(("quarantined", number(report.quarantined)))
    rows += [(f"  {reason}", number(count)) for reason, count in report.reasons.items()]
    console = out()
    console.print(table(title, ("", "count"), rows, right=("count",)))
    equation = "read = accepted + quarantined" + (", events = stored + duplicate" if report.stored is not None else "")
    console.print(good(f"balanced: {equation}") if report.balanced else bad(f"NOT BALANCED: {equation}"))
    seconds = report.queryable_seconds or report.append_seconds
    state = "queryable" if report.queryable_seconds else "durable in the log"
    rate = round(report.read / seconds) if seconds else 0
    console.print(
        f"{state} after {duration(seconds)}, {number(rate)} rows/s; receipt {report.receipt_id}", markup=False
    )
    for label, counts in (("unknown fields", report.unknown_fields), ("type changes", report.type_changes)):
        if counts:
            console.print(f"drift, {label}: " + ", ".join(f"{k} {number(v)}" for k, v in counts.items()), markup=False)

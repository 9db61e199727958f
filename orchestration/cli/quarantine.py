"""`quarantine list|show|replay|discard`: refused rows and their ways out.

Belongs here: arguments and tables. Does not belong here: replaying (`orchestration.quarantine`), storing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, err, out, print_json, table
from orchestration.cli.times import ago, counted, number, parse_time

if TYPE_CHECKING:
    from orchestration.quarantine import ReplayReport
    from resources.raw_store.base import QuarantineFilter, RawStore

app = typer.Typer(help="Rows that were refused: list, show, replay, discard.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="Reason code, for example missing_field.")]
Network = Annotated[str | None, typer.Option(help="Network of the rows.")]
Workspace = Annotated[str | None, typer.Option(help="Workspace of the rows.")]
Since = Annotated[str | None, typer.Option("--from", help="First seen at or after.")]
Until = Annotated[str | None, typer.Option("--to", help="First seen before.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="One row by its id, repeatable.")]
MOST_COUNTED = 100_000
Limit = Annotated[int, typer.Option(min=1, help="At most so many rows.")]


def register(parent: typer.Typer) -> None:
    app.command("list")(list_rows)
    app.command()(show)
    app.command()(replay)
    app.command()(discard)
    parent.add_typer(app, name="quarantine", rich_help_panel="Proof")


def list_rows(json: JsonFlag = False) -> None:
    """Count refused rows by status, reason and network. Transient: the same row may pass later, as it is.

    Example: [bold]tally quarantine list[/]
    """
    from contracts.rejects import REASONS
    from orchestration.stack.stores import raw_store

    with raw_store(load_settings()) as store:
        counts = store.quarantine_counts()
    rows = counts.sort("status", "rows", descending=[False, True]).to_dicts()
    for row in rows:
        row["class"] = REASONS[row["reason"]].reason_class if row["reason"] in REASONS else "permanent"
    if json:
        print_json(rows)
        return
    if not rows:
        out().print("The quarantine is empty.")
        return
    cells = [
        (*(row[name] for name in ("status", "reason", "class", "network")), number(row["rows"]),
         ago(row["first_seen"]), ago(row["last_seen"]))
        for row in rows
    ]  # fmt: skip
    columns = ("status", "reason", "class", "network", "rows", "first seen", "last seen")
    out().print(table("Quarantine", columns, cells, right=("rows",)))
    out().print("See rows: `tally quarantine show --reason …`; try again: `tally quarantine replay --dry-run`.")


def show(
    *,
    identity: Ids = None,
    reason: Reason = None,
    network: Network = None,
    workspace: Workspace = None,
    since: Since = None,
    until: Until = None,
    status: Annotated[str, typer.Option(help="open, replayed, discarded or all.")] = "open",
    limit: Limit = 10,
    json: JsonFlag = False,
) -> None:
    """Show refused rows: what is wrong, where, and the row itself.

    Example: [bold]tally quarantine show --reason not_json --limit 3[/]
    """
    conditions = locals()
    from orchestration.stack.stores import raw_store

    where = _filter(conditions, status)
    with raw_store(load_settings()) as store:
        rows = store.quarantine(where).to_dicts()
        left = _count(store, where) - len(rows)
    if json:
        print_json(rows)
        return
    console = out()
    for row in rows:
        console.print(f"{row['id']}  {row['status']}  {row['reason']}", markup=False, style="bold")
        console.print(f"  where    {row['place']} ({row['workspace']}/{row['network'] or '-'})", markup=False)
        console.print(f"  in log   {row['log_topic']}/{row['log_partition']}@{row['log_offset']}", markup=False)
        console.print(f"  problem  {row['detail']}" + (f" [{row['field']}]" if row["field"] else ""), markup=False)
        console.print(
            f"  seen     {ago(row['first_seen'])}, attempts {row['attempts']}, receipt {row['receipt_id']}",
            markup=False,
        )
        console.print(f"  row      {_preview(row['payload'])}", markup=False)
    told = counted(len(rows), "row")
    console.print(told if left <= 0 else f"{told} of {number(len(rows) + left)}; --limit shows more")


def _count(store: RawStore, where: QuarantineFilter) -> int:
    """Count what the filter matches. Rows are only read where the store's own counts do not tell it."""
    import dataclasses

    if where.ids is None and where.workspace is None and where.since is None and where.until is None:
        return sum(
            int(row["rows"])
            for row in store.quarantine_counts().iter_rows(named=True)
            if where.status in {None, row["status"]}
            and where.reason in {None, row["reason"]}
            and where.network in {None, row["network"]}
        )
    return store.quarantine(dataclasses.replace(where, limit=MOST_COUNTED)).height


def _preview(payload: bytes) -> str:
    text = payload[:400].decode("utf-8", errors="backslashreplace")
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown + (f" … ({len(payload):,} bytes)" if len(payload) > 400 else "")


def replay(
    *,
    identity: Ids = None,
    reason: Reason = None,
    network: Network = None,
    workspace: Workspace = None,
    since: Since = None,
    until: Until = None,
    mapping: Annotated[str | None, typer.Option(help="Mapping name or file (default: the row's network).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    limit: Limit = 100_000,
    json: JsonFlag = False,
) -> None:
    """Send refused rows through intake again, with the current mapping. Rows that pass now become events.

    Exit code 2 when rows are of a network without a mapping, and none is given.

    Example: [bold]tally quarantine replay --network wikipedia --dry-run[/]
    """
    conditions = locals()
    from contracts.mapping import load_mapping
    from orchestration.quarantine import replay_quarantine
    from orchestration.stack.stores import event_log, raw_store

    settings = load_settings()
    where = _filter(conditions)
    with event_log(settings) as log, raw_store(settings) as store:
        report = replay_quarantine(
            log, store, where, mapping=load_mapping(mapping) if mapping else None, dry_run=dry_run
        )
    if json:
        print_json(report)
    else:
        _show_replay(report, dry_run=dry_run)
    if report.unmapped:
        names = ", ".join(map(repr, report.unmapped))
        err().print(f"error: rows of {names} stay: no mapping has that name", markup=False, style="bold red")
        err().print("  give one with --mapping NAME or FILE", markup=False, style="yellow")
        raise typer.Exit(ExitCode.USAGE)


def _show_replay(report: ReplayReport, *, dry_run: bool) -> None:
    rows = [("accepted now" if not dry_run else "would be accepted", number(report.accepted))]
    rows += [(f"still refused: {name}", number(count)) for name, count in report.refused.most_common()]
    rows += [(f"cannot be replayed: {name}", number(count)) for name, count in report.stuck.most_common() if count]
    out().print(table("Replay" + (" (dry run)" if dry_run else ""), ("", "rows"), rows, right=("rows",)))
    out().print(f"{counted(report.matched, 'row')} matched.")


def discard(
    *,
    note: Annotated[str, typer.Option(help="Why; kept with the rows.")],
    identity: Ids = None,
    reason: Reason = None,
    network: Network = None,
    workspace: Workspace = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many rows match.")] = False,
    limit: Limit = 100_000,
    json: JsonFlag = False,
) -> None:
    """Mark refused rows as discarded, with a note. They stay in the store and in the account.

    Example: [bold]tally quarantine discard --reason not_json --note "test traffic"[/]
    """
    conditions = locals()
    from orchestration.stack.stores import raw_store

    if not any((identity, reason, network, workspace, since, until)):
        raise CliError("say which rows: at least one of --id, --reason, --network, --workspace, --from, --to")
    where = _filter(conditions)
    with raw_store(load_settings()) as store:
        ids = store.quarantine(where)["id"].to_list()
        changed = 0 if dry_run else store.mark_quarantine(ids, "discarded", note)
    if json:
        print_json({"matched": len(ids), "discarded": changed, "dry_run": dry_run})
    else:
        out().print(f"{counted(len(ids), 'row')} matched, {number(changed)} discarded.")


def _filter(conditions: Mapping[str, Any], status: str = "open") -> QuarantineFilter:
    """Build the filter from a command's own arguments. Raises CliError naming a wrong reason, status or time."""
    from datetime import UTC, datetime
    from typing import get_args

    from contracts.rejects import REASONS
    from resources.raw_store.base import QuarantineFilter, QuarantineStatus

    reason = conditions["reason"]
    if reason is not None and reason not in REASONS:
        raise CliError(f"--reason {reason!r} is unknown", hint=f"reasons: {', '.join(sorted(REASONS))}")
    known = get_args(QuarantineStatus)
    if status != "all" and status not in known:
        raise CliError(f"--status {status!r} is none of {', '.join(known)}, all")
    now = datetime.now(UTC)
    since, until = (parse_time(conditions[name], now=now) if conditions[name] else None for name in ("since", "until"))
    return QuarantineFilter(
        ids=conditions["identity"],
        reason=conditions["reason"],
        workspace=conditions["workspace"],
        network=conditions["network"],
        status=None if status == "all" else status,  # type: ignore[arg-type]  # checked above
        since=since,
        until=until,
        limit=conditions["limit"],
    )

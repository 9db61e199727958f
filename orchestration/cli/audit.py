"""`audit` and `repair`: compare every store with what it was made from, name what differs, and put it right.

Belongs here: arguments and display. Does not belong here: comparing (`serving.audit`), repairing
(`orchestration.repair`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, bad, err, good, out, print_json, table, warn
from orchestration.cli.times import duration, number, parse_range

if TYPE_CHECKING:
    import polars as pl

    from orchestration.repair.run import RepairReport
    from orchestration.settings import Settings
    from serving.audit.engine import AuditReport

LISTED = 50
"""Findings printed at most; --json has all of them."""

FromFlag = Annotated[
    str | None, typer.Option("--from", help="Messages appended, and hours of events, from here (default: all).")
]
ToFlag = Annotated[str, typer.Option("--to", help="… and before.")]
StoreFlag = Annotated[list[str] | None, typer.Option("--store", help="One store, repeatable (default: all).")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Proof")(audit)
    app.command(rich_help_panel="Proof")(repair)


def audit(*, start: FromFlag = None, end: ToFlag = "now", store: StoreFlag = None, json: JsonFlag = False) -> None:
    """Compare every store, content and all, with what it was made from. Exit code 1: a row is lost, doubled or changed.

    Raw store, ClickHouse and archive are compared with the event log's messages, slices with the archive, rollups with
    their sources. What is still on its way is no finding.

    Example: [bold]tally audit --from -2d[/]

    Example: [bold]tally audit --store archive --store slices[/]
    """
    report = read_audit(load_settings(), start, end, store)
    if json:
        print_json(as_json(report))
    else:
        show_audit(report)
    if not report.clean:
        raise typer.Exit(ExitCode.PROBLEM)


def repair(
    *,
    start: FromFlag = None,
    end: ToFlag = "now",
    store: StoreFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be repaired, change nothing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Put right exactly what `tally audit` finds: from the log, or the archive where the log has let go of it.

    The live worker pauses while ClickHouse is mended. Closed hours that change are published anew, with restatements
    whose cause is `repair`. A second run changes nothing. Exit code 1 when something remains, or with
    --dry-run is found.

    Example: [bold]tally repair --dry-run[/]
    """
    from serving.audit.causes import with_causes

    settings = load_settings()
    if dry_run:
        found = read_audit(settings, start, end, store).findings
        if json:
            print_json({"dry_run": True, "repaired": False, "findings": with_causes(found).to_dicts()})
        elif found.is_empty():
            out().print(good("nothing to repair"))
        else:
            show_findings(found)
        if not found.is_empty():
            raise typer.Exit(ExitCode.PROBLEM)
        return
    report = _run_repair(settings, start, end, store)
    if json:
        print_json(
            {
                "repaired": bool(report.written),
                "written": report.written,
                "rounds": report.rounds,
                "findings": with_causes(report.found).to_dicts(),
                "remaining": with_causes(report.remaining).to_dicts(),
                "notes": report.notes.to_dicts(),
            }
        )
    else:
        show_repair(report)
    if not report.remaining.is_empty():
        raise typer.Exit(ExitCode.PROBLEM)


def _run_repair(settings: Settings, start: str | None, end: str, stores: list[str] | None) -> RepairReport:
    from orchestration.auditing import scope_between
    from orchestration.repair.run import repair as run
    from orchestration.stack.stores import event_log

    console = err()
    period = parse_range(start, end) if start else None
    with event_log(settings) as log:
        scope = scope_between(log, period, _stores(stores))
    return run(settings, scope, lambda text: console.print(f"  {text}", markup=False))


def show_repair(report: RepairReport) -> None:
    """Print what was wrong, what was written again, and what remains."""
    from serving.audit.causes import damaged

    console = out()
    show_notes(report.notes)
    if report.found.is_empty():
        console.print(good("nothing to repair"))
        return
    show_lines(report.found)
    rows = [(what, number(count)) for what, count in report.written.items()]
    console.print(table("Written again", ("what", "number"), rows, right=("number",)))
    repaired, remaining = damaged(report.found).height, damaged(report.remaining).height
    if not remaining:
        rest = report.found.height - repaired
        follow = f" and {number(rest)} that only followed from them" if rest else ""
        done = (
            f"repaired: {count_of(repaired, 'finding')}{follow}; an audit of what was repaired finds nothing any more"
        )
        console.print(good(done))
    else:
        console.print(bad(f"{count_of(remaining, 'finding')} remain:"))
        show_lines(report.remaining)


def as_json(report: AuditReport) -> dict[str, object]:
    """The report for programs: `clean`, per store rows and seconds, and every finding.

    `damaged` counts rows; the rest of the findings say in `follows_from` which of these they follow from.
    """
    from serving.audit.causes import damaged, with_causes

    findings = report.findings
    wrong = dict(damaged(findings)["store"].value_counts().iter_rows())
    return {
        "clean": report.clean,
        "damaged": sum(wrong.values()),
        "positions": report.positions,
        "unknown": report.unknown,
        "stores": {
            store: {
                "rows": result.rows,
                "seconds": round(result.seconds, 3),
                "findings": wrong.get(store, 0),
                "following": result.findings.height - wrong.get(store, 0),
                "clean": result.findings.is_empty(),
            }
            for store, result in report.stores.items()
        },
        "findings": with_causes(findings).to_dicts(),
        "notes": report.notes.to_dicts(),
        "repair": None if report.clean else "tally repair",
    }


def read_audit(
    settings: Settings, start: str | None = None, end: str = "now", stores: list[str] | None = None
) -> AuditReport:
    """Audit the stores of the settings, telling on stderr how far it is. Times as `times.parse_time` reads them."""
    from orchestration.auditing import open_audit_stores, scope_between
    from orchestration.cli.progress import bar
    from serving.audit.engine import audit as compare

    period = parse_range(start, end) if start else None
    with open_audit_stores(settings) as opened, bar("audit", None, "rows") as advance:
        done: dict[str, int] = {}

        def progress(store: str, rows: int) -> None:
            done[store] = rows
            advance(sum(done.values()))

        return compare(opened, scope_between(opened.log, period, _stores(stores)), progress)


def _stores(names: list[str] | None) -> list[str] | None:
    from serving.audit.findings import STORES

    unknown = [name for name in names or [] if name not in STORES]
    if unknown:
        raise CliError(f"--store {unknown[0]!r} is no store that can be audited", hint=f"one of: {', '.join(STORES)}")
    return names or None


def show_audit(report: AuditReport) -> None:
    """Print what was compared per store, the findings, and the command that repairs them."""
    from serving.audit.causes import damaged

    wrong = dict(damaged(report.findings)["store"].value_counts().iter_rows())
    rows = [
        (store, number(result.rows), duration(result.seconds), _mark(wrong.get(store, 0), result.findings.height))
        for store, result in report.stores.items()
    ]
    console = out()
    console.print(
        table(
            "Audit: every store against what it was made from",
            ("store", "rows", "time", ""),
            rows,
            right=("rows", "time"),
        )
    )
    if report.unknown:
        console.print(
            f"Of {number(report.unknown)} log positions neither log nor archive can say any more what they held."
        )
    show_notes(report.notes)
    if report.clean:
        console.print(good(f"every store agrees, in {number(report.positions)} log positions"))
        return
    show_findings(report.findings)


def _mark(rows: int, findings: int) -> object:
    if not findings:
        return good("ok")
    if not rows:
        return warn(f"{count_of(findings, 'row')} made from what is damaged elsewhere")
    return bad(count_of(rows, "finding"))


def show_lines(findings: pl.DataFrame) -> None:
    """Print a line per damaged row, at most LISTED."""
    from serving.audit.causes import named

    for line in named(findings, LISTED):
        out().print(f"  {line}", markup=False)


def show_notes(notes: pl.DataFrame) -> None:
    """Print what differs and stays: a log that cannot be written there, while its stores agree."""
    from serving.audit.findings import describe

    console = out()
    for row in notes.head(LISTED).to_dicts():
        console.print(f"  note: {describe(row)}", markup=False)
    if not notes.is_empty():
        what = count_of(notes.height, "message")
        console.print(f"{what} of the log cannot be written again; its stores agree, so it is left as it is.")


def show_findings(findings: pl.DataFrame) -> None:
    """Print what is damaged by name, each with what follows from it, and the command that repairs it."""
    from serving.audit.causes import damaged

    show_lines(findings)
    rows = damaged(findings).height
    rest = findings.height - rows
    follow = f" and {number(rest)} that only follow from them" if rest else ""
    out().print(bad(count_of(rows, "finding")), f"{follow} — [bold]tally repair[/] puts them right", sep="")


def count_of(count: int, what: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{number(count)} {what}" if count == 1 else f"{number(count)} {what}s"

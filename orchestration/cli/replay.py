"""`replay`: write again what the stores lack of a stretch of the log, and seal what changed.

Belongs here: arguments and the report. Does not belong here: replaying (`orchestration.replay`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, err, good, out, print_json, table
from orchestration.cli.sealing import run_seal, show_outcome
from orchestration.cli.times import number, parse_range

if TYPE_CHECKING:
    from orchestration.replay import ReplayReport


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Proof")(replay)


def replay(
    *,
    start: Annotated[str | None, typer.Option("--from", help="Messages appended to the log from here.")] = None,
    end: Annotated[str, typer.Option("--to", help="… and before.")] = "now",
    live: Annotated[bool, typer.Option("--live", help="Empty all live tables and fill them from the log.")] = False,
    seal: Annotated[bool, typer.Option("--seal/--no-seal", help="Seal the hours that changed.")] = True,
    json: JsonFlag = False,
) -> None:
    """Write again what raw store and ClickHouse lack, from the event log; then seal again what changed.

    What is there stays as it is, so a replay can be repeated. The live worker pauses while ClickHouse is mended.

    Example: [bold]tally replay --from -6h[/]

    Example: [bold]tally replay --live[/]
    """
    from orchestration.replay import rebuild_live, replay_window

    if live == (start is not None):
        raise CliError("give either --from (and --to), or --live")
    settings = load_settings()
    console = err()

    def tell(text: str) -> None:
        console.print(f"  {text}", markup=False)

    report = replay_window(settings, *parse_range(start, end), tell) if start else rebuild_live(settings, tell)
    outcome = None
    if seal and start:
        from datetime import UTC, datetime

        everything = datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC)
        outcome = run_seal(settings, everything, None, "replay", tell)
    if json:
        print_json({"replay": report, "sealed": None if outcome is None else outcome.summary.to_dicts()})
    else:
        _show(report)
        if outcome is not None:
            show_outcome(outcome)
    if outcome is not None and outcome.reasons:
        raise typer.Exit(ExitCode.PROBLEM)


def _show(report: ReplayReport) -> None:
    rows = [
        (store, *(number(counts.get(name, 0)) for name in ("stored", "duplicate", "quarantined")))
        for store, counts in (("raw store", report.raw), ("ClickHouse", report.live))
        if counts
    ]
    columns = ("stored", "duplicate", "quarantined")
    console = out()
    console.print(table("Written anew", ("store", *columns), rows, right=columns))
    if not any(count for counts in (report.raw, report.live) for count in counts.values()):
        console.print(good("nothing was missing"))
    if report.reindexed_parts:
        console.print(f"The index of {number(report.reindexed_parts)} archive parts was written again.")
    if report.rebuilt_hours:
        console.print(f"Live rollups of {number(report.rebuilt_hours)} hours were computed again.")

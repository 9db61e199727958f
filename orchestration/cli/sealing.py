"""`seal`: recompute hours from the archive and publish them, now and not when Dagster's schedule says.

Belongs here: arguments and the summary's table. Does not belong here: sealing (`orchestration.sealing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import ExitCode
from orchestration.cli.output import JsonFlag, bad, err, good, out, print_json, run_log_aside, table
from orchestration.cli.times import iso, number, parse_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import polars as pl

    from orchestration.settings import Settings

COUNTS = ("buckets", "published", "unchanged", "failed", "events", "restatements")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Numbers")(seal)


def seal(
    *,
    start: Annotated[str, typer.Option("--from", help="First event hour.")],
    end: Annotated[str, typer.Option("--to", help="End, exclusive.")] = "now",
    network: Annotated[list[str] | None, typer.Option(help="One network, repeatable (default: all).")] = None,
    cause: Annotated[str, typer.Option(help="Written into seals and restatements.")] = "seal",
    json: JsonFlag = False,
) -> None:
    """Archive what was read, recompute the hours that are due, and publish them; hours that still fill are left out.

    Exit code 1 when an hour could not be sealed. Sealing twice changes nothing.

    Example: [bold]tally seal --from -2d[/]
    """
    first, last = parse_range(start, end)
    console = err()
    settings = load_settings()
    summary = run_seal(settings, (first, last), network, cause, lambda text: console.print(f"  {text}", markup=False))
    failed = int(summary["failed"].sum()) if summary.height else 0
    if json:
        print_json({"from": first, "to": last, "failed": failed, "datasets": summary.to_dicts()})
    else:
        show_summary(summary, failed)
    if failed:
        raise typer.Exit(ExitCode.PROBLEM)


def run_seal(
    settings: Settings,
    period: tuple[datetime, datetime],
    networks: Sequence[str] | None,
    cause: str,
    on_progress: Callable[[str], None],
) -> pl.DataFrame:
    """Seal `[start, end)`; returns a row per dataset (`orchestration.sealing.SUMMARY_SCHEMA`). It logs to seal.log."""
    with run_log_aside(settings.home / "logs" / "seal.log"):
        from orchestration.sealing import seal as run
        from orchestration.sealing import summarise

        return summarise(run(settings, *period, networks, cause, on_progress))


def show_summary(summary: pl.DataFrame, failed: int) -> None:
    console = out()
    if summary.is_empty():
        console.print("Nothing was due: every complete hour of the range is sealed with all its events.")
        return
    rows = [
        [row["dataset"], *(number(row[name]) for name in COUNTS), iso(row["first"]), iso(row["last"])]
        for row in summary.to_dicts()
    ]
    console.print(table("Sealed", ("dataset", *COUNTS, "first", "last"), rows, right=COUNTS))
    console.print(bad(f"{failed} buckets failed") if failed else good("sealed"))

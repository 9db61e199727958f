"""`seal`: recompute hours from the archive and publish them, now and not when Dagster's schedule says.

Belongs here: arguments and the summary's table. Does not belong here: sealing (`orchestration.sealing`).
"""

from __future__ import annotations

from dataclasses import dataclass
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

SHOWN_REASONS = 5
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

    Exit code 1 when an hour could not be sealed. Sealing twice changes nothing, except that published hours of which
    Dagster has no mark get one: of a network whose mapping came later, or beyond the 300 that one run marks.

    Example: [bold]tally seal --from -2d[/]

    Example: [bold]tally seal --from 2026-03-01 --network shop[/]
    """
    first, last = parse_range(start, end)
    console = err()
    outcome = run_seal(
        load_settings(), (first, last), network, cause, lambda text: console.print(f"  {text}", markup=False)
    )
    if json:
        summary = outcome.summary.to_dicts()
        print_json({"from": first, "to": last, "failed": outcome.reasons, "datasets": summary})
    else:
        show_outcome(outcome)
    if outcome.reasons:
        raise typer.Exit(ExitCode.PROBLEM)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`summary`: a row per dataset (`orchestration.sealing.SUMMARY_SCHEMA`). `reasons`: why a bucket was not sealed."""

    summary: pl.DataFrame
    reasons: list[str]

    @property
    def buckets(self) -> dict[str, int]:
        """Buckets built, by dataset."""
        return dict(self.summary.select("dataset", "buckets").iter_rows())


def run_seal(
    settings: Settings,
    period: tuple[datetime, datetime],
    networks: Sequence[str] | None,
    cause: str,
    on_progress: Callable[[str], None],
) -> Outcome:
    """Seal all hours that the period touches, in this process. What Dagster prints of the run goes to seal.log."""
    from orchestration.stack.lifecycle import write_dagster_home

    write_dagster_home(settings)
    with run_log_aside(settings.home / "logs" / "seal.log"):
        from orchestration.sealing import seal as run
        from orchestration.sealing import summarise

        sealed = run(settings, *_whole_hours(*period), networks, cause, on_progress)
        reasons = [f"{name} {bucket} {network}: {why}" for (name, bucket, network), why in sealed.failed.items()]
        return Outcome(summarise(sealed), reasons)


def _whole_hours(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """An hour is sealed whole or not at all."""
    from datetime import timedelta

    first, last = (moment.replace(minute=0, second=0, microsecond=0) for moment in (start, end))
    return first, last if last == end else last + timedelta(hours=1)


def show_outcome(outcome: Outcome) -> None:
    console = out()
    if outcome.summary.is_empty():
        console.print("Nothing was due: every complete hour of the range is sealed with all its events.")
        return
    rows = [
        [row["dataset"], *(number(row[name]) for name in COUNTS), iso(row["first"]), iso(row["last"])]
        for row in outcome.summary.to_dicts()
    ]
    console.print(table("Sealed", ("dataset", *COUNTS, "first", "last"), rows, right=COUNTS))
    for reason in outcome.reasons[:SHOWN_REASONS]:
        console.print(bad(reason))
    if len(outcome.reasons) > SHOWN_REASONS:
        console.print(f"… and {len(outcome.reasons) - SHOWN_REASONS} more; --json has all of them")
    console.print(bad(f"{len(outcome.reasons)} buckets failed") if outcome.reasons else good("sealed"))

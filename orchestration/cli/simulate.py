"""`simulate`: a social network that never was, sent to the collector like any other source.

Belongs here: arguments, progress, the account of what was sent. Does not belong here: what is simulated
(`streaming.simulator`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, err, out, print_json, table
from orchestration.cli.progress import bar
from orchestration.cli.times import iso, number, parse_duration, parse_range

if TYPE_CHECKING:
    from datetime import datetime


HISTORY_WINDOW_SECONDS = 600
"""History is generated ten minutes at a time: at low rates a window's cost is mostly fixed."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Events")(simulate)


def simulate(
    *,
    start: Annotated[str | None, typer.Option("--from", help="History from here; without it, live.")] = None,
    end: Annotated[str, typer.Option("--to", help="History up to here.")] = "now",
    rate: Annotated[float, typer.Option(min=0.01, max=50_000, help="Mean events a second.")] = 300.0,
    seed: Annotated[int, typer.Option(help="Same seed, rate and time: the same events.")] = 7,
    duration: Annotated[str | None, typer.Option(help="End live mode after so much of it: 90s, 10m.")] = None,
    steady: Annotated[bool, typer.Option("--steady", help="No daily rhythm, for load tests.")] = False,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of late rows.")] = 0.01,
    duplicate: Annotated[float, typer.Option(min=0, max=1, help="Share of rows sent twice.")] = 0.005,
    broken: Annotated[float, typer.Option(min=0, max=1, help="Share of broken rows.")] = 0.002,
    truth: Annotated[str | None, typer.Option(help="Folder for the ground truth.")] = None,
    json: JsonFlag = False,
) -> None:
    """Send the events of a simulated social network: history as fast as it goes, or live at its rate.

    Example: [bold]tally simulate --rate 500 --duration 1m[/]

    Example: [bold]tally simulate --from -2d --rate 2 --truth /tmp/truth[/]
    """
    from pathlib import Path

    from orchestration.demo import collector_sink
    from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, Truth
    from streaming.simulator.run import history, live

    settings = load_settings()
    faults = FaultRates(late=late, duplicate=duplicate, broken=broken)
    window = 10 if start is None else HISTORY_WINDOW_SECONDS
    network = SimulatedNetwork(SimulationConfig(seed=seed, rate=rate, window_seconds=window, steady=steady))
    # The truth of an endless stream would fill the memory: live it is recorded on request only.
    record = Truth() if start is not None or truth else None
    period = None if start is None else _whole_windows(*parse_range(start, end))
    limit = parse_duration(duration) if duration is not None else None
    sink = collector_sink(settings)
    begun = time.monotonic()
    sent = 0

    def count(rows: int) -> None:
        nonlocal sent
        sent = rows
        advance(rows)

    with bar("simulate", total=None, unit="rows") as advance:
        try:
            if period:
                history(network, faults, *period, sink, truth=record, on_progress=lambda rows, _: count(rows))
            else:
                live(network, faults, sink, duration=limit, truth=record, on_progress=lambda rows, _: count(rows))
        except KeyboardInterrupt:
            pass  # the ordinary end of a live stream
        finally:
            sink.close()
    seconds = time.monotonic() - begun
    summary = {**(record.summary() if record else {}), "sent": sent}
    if record and truth:
        record.save(Path(truth))
        err().print(f"ground truth: {truth}", markup=False)
    if json:
        print_json({**summary, "seconds": round(seconds, 2), "rows_per_second": round(sent / seconds)})
        return
    rows = [(name, number(value)) for name, value in summary.items() if isinstance(value, int)]
    rows.append(("rows/s", number(round(sent / seconds))))
    out().print(table("Simulated", ("", "rows"), rows, right=("rows",)))


def _whole_windows(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """End with the last whole window, so that history up to now holds nothing from the future."""
    from datetime import UTC, datetime

    last = datetime.fromtimestamp(end.timestamp() // HISTORY_WINDOW_SECONDS * HISTORY_WINDOW_SECONDS, UTC)
    if start >= last:
        raise CliError(f"no whole window of {HISTORY_WINDOW_SECONDS} s lies between {iso(start)} and {iso(end)}")
    return start, last

"""`trends`: what is trending, as of now or of any instant.

Belongs here: arguments, the table, watching. Does not belong here: reading boards (`serving.trends`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, out, print_json, table, warn
from orchestration.cli.times import ago, iso, number, parse_time

if TYPE_CHECKING:
    from contracts.trend_boards import BoardId
    from orchestration.settings import Settings
    from serving.trends import TrendBoard

    Found = list[tuple[TrendBoard, Mapping[str, list[int]]]]

WATCH_SECONDS = 1.0
_BARS = " ▁▂▃▄▅▆▇█"

Kind = Literal["hashtag", "emoji", "link", "object"]
Window = Literal["1m", "5m", "15m"]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Numbers")(trends)


def trends(
    *,
    window: Annotated[Window, typer.Option(help="1m sees first, 15m lasts.")] = "5m",
    kind: Annotated[Kind, typer.Option(help="What trends.")] = "hashtag",
    network: Annotated[str, typer.Option(help="One network; all: every one together.")] = "all",
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: each that has a board).")] = None,
    as_of: Annotated[str | None, typer.Option(help="The board as it stood then, e.g. -10m.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many topics.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second until Ctrl-C.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show trending topics: how unlikely their number of people is, and how much of it is real.

    score: -log10 of that probability for the effective actors, halved every hour; people: distinct actors; real:
    effective actors, exp(entropy of their shares); usual: expected in such a window.

    Example: [bold]tally trends --window 1m --watch[/]

    Example: [bold]tally trends --kind object --as-of -30m --json[/]
    """
    settings = load_settings()
    if watch and (as_of or json):
        raise CliError("--watch shows now, to people: leave out --as-of and --json")
    now = datetime.now(UTC)
    moment = parse_time(as_of, now=now) if as_of else None
    if moment and moment > now:
        raise CliError(f"--as-of {as_of} ({iso(moment)}) is in the future")
    ask = _Question(workspace, network, window, kind, moment, limit)
    if watch:
        _watch(lambda: _read(settings, ask))
        return
    found = _read(settings, ask)
    if json:
        print_json([_document(board, minutes) for board, minutes in found])
        return
    for piece in _render(found, moment):
        out().print(piece)


class _Question(NamedTuple):
    workspace: str | None
    network: str
    window: str
    kind: str
    as_of: datetime | None
    limit: int


def _read(settings: Settings, ask: _Question) -> Found:
    """The boards that were asked for, each with the minutes behind its topics."""
    from contracts.trend_boards import BoardId
    from resources.cache import open_cache
    from resources.clickhouse import open_clickhouse
    from serving.trends import list_boards, minutes_of, read_board

    client, cache = open_clickhouse(settings.clickhouse_url), open_cache(settings.cache_url)
    try:
        listed = [] if ask.workspace else list_boards(client, cache, as_of=ask.as_of)
        wanted = [ask.workspace] if ask.workspace else sorted({board.workspace for board in listed})
        found = []
        for name in wanted or [""]:
            place = BoardId(name, ask.network, ask.window, ask.kind)
            board = read_board(client, cache, place, as_of=ask.as_of, limit=ask.limit)
            topics = board.entries["topic"].to_list()
            found.append((board, minutes_of(client, place, board.hop, topics) if board.hop else {}))
        return found
    finally:
        cache.close()
        client.close()


def _render(found: Found, asked: datetime | None = None) -> list[object]:
    """What people see of boards, as of the instant they asked for (None: now)."""
    from serving.trends import STALE_AFTER

    shown: list[object] = []
    for board, minutes in found:
        if board.entries.is_empty():
            shown.append(f"{_title(board.board)}: nothing is trending{_since(board)}.")
            continue
        rows = [_row(board, each, minutes.get(each["topic"], [])) for each in board.entries.iter_rows(named=True)]
        right = ("#", "score", "P", "people", "real", "events", "usual")
        columns = (
            "#",
            "topic",
            "score",
            "P",
            "people",
            "real",
            "events",
            "usual",
            "last 15 min",
            "entered",
            "dampened",
        )
        shown.append(table(f"{_title(board.board)}{_since(board)}", columns, rows, right=right))
        if board.source == "history" and board.as_of and (asked or datetime.now(UTC)) - board.as_of > STALE_AFTER:
            since = "had renewed it by then" if asked else "has renewed it since (`tally status`)"
            shown.append(warn(f"This board is of {iso(board.as_of)}: nothing {since}."))
    return shown


def _title(board: BoardId) -> str:
    whose = f" in {board.workspace}" if board.workspace else ""
    where = "" if board.network == "all" else f" on {board.network}"
    return f"Trending {board.kind}s of {board.window}{whose}{where}"


def _since(board: TrendBoard) -> str:
    return f", as of {iso(board.as_of)}" if board.as_of else ""


def _row(board: TrendBoard, entry: Mapping[str, Any], minutes: Sequence[int]) -> tuple[object, ...]:
    from analytics.trends import DAMPENING, WINDOWS

    usual = (0.5 + entry["baseline"]) / (0.5 + entry["past_panes"]) * WINDOWS[board.board.window]
    reason = entry["dampening"]
    share = f" ({entry['top_share']:.0%} by one)" if reason == "one_actor" else ""
    return (
        entry["rank"],
        entry["label"],
        f"{entry['score']:.1f}",
        f"1e{entry['log10_p']:.0f}",
        number(entry["distinct_actors"]),
        f"{entry['effective_actors']:.0f}",
        number(entry["events"]),
        f"{usual:.1f}",
        sparkline(minutes),
        ago(min(entry["entered_at"], board.as_of or entry["entered_at"]), board.as_of),  # a hop is named by its end
        warn(f"{DAMPENING[reason]}{share}") if reason else "",
    )


def sparkline(counts: Sequence[int]) -> str:
    """One bar per count, the largest being full; a count above 0 is never an empty one."""
    most = max(counts, default=0)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] if count else _BARS[0] for count in counts)


def _document(board: TrendBoard, minutes: Mapping[str, list[int]]) -> dict[str, object]:
    entries = [
        {**entry, "actors_by_minute": minutes.get(entry["topic"], [])} for entry in board.entries.iter_rows(named=True)
    ]
    return {
        "board": board.board, "as_of": board.as_of, "hop": board.hop, "version": board.version,
        "source": board.source, "entries": entries,
    }  # fmt: skip


def _watch(read: Callable[[], Found]) -> None:
    from rich.console import Group
    from rich.live import Live

    with Live(console=out(), screen=out().is_terminal, auto_refresh=False) as live:
        while True:
            live.update(Group(*_render(read())), refresh=True)  # type: ignore[arg-type]  # tables and texts
            time.sleep(WATCH_SECONDS)

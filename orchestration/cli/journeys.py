"""`sessions`, `paths`, `funnel`, `retention` and `score`: what people did, one after the other.

Belongs here: arguments and tables. Does not belong here: asking (`serving.journeys`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, fitting, out, print_json, table
from orchestration.cli.times import counted, duration, iso, number, parse_duration, parse_open_range, parse_zone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resources.clickhouse import Client
    from serving.journeys.answers import Scope

Start = Annotated[str | None, typer.Option("--from", help="Start, inclusive (default: the first session).")]
End = Annotated[str | None, typer.Option("--to", help="End, exclusive (default: past the last session).")]
Network = Annotated[str | None, typer.Option(help="One network (default: all).")]
Workspace = Annotated[str | None, typer.Option(help="One workspace (default: all).")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many rows.")]


def register(app: typer.Typer) -> None:
    for command in (sessions, paths, funnel, retention, score):
        app.command(rich_help_panel="Numbers")(command)


def sessions(
    *,
    start: Start = None,
    end: End = None,
    actor: Annotated[str | None, typer.Option(help="One person.")] = None,
    network: Network = None,
    workspace: Workspace = None,
    limit: Limit = 20,
    json: JsonFlag = False,
) -> None:
    """List sessions, the newest first: who, when, how long, what was seen. `tally query sessions` counts them.

    A session ends with a pause of 30 minutes, or after 24 hours. One marked * may still grow.

    Example: [bold]tally sessions --from -1h[/]

    Example: [bold]tally sessions --actor u17 --network sim --limit 5[/]
    """
    from serving.journeys.answers import list_sessions

    found = list_sessions(_client(), _scope(start, end, workspace, network, actor), limit)
    if json:
        print_json(found.to_dicts())
        return
    rows = [
        (
            iso(row["started_at"]) + ("" if row["sealed"] else " *"),
            duration((row["ended_at"] - row["started_at"]).total_seconds()),
            row["network"],
            row["actor"] or f"device {row['device_id']}",
            number(row["events"]),
            "yes" if row["engaged"] else "no",
            _path(row["path"]),
        )
        for row in found.to_dicts()
    ]
    columns = ("start", "lasted", "network", "who", "events", "engaged", "path")
    out().print(fitting("Sessions", columns, rows, right=("lasted", "events")))
    cut = f", the newest; --limit shows more than {limit:,}" if found.height == limit else ""
    out().print(counted(found.height, "session") + cut)


def paths(
    *,
    length: Annotated[int, typer.Option(min=2, max=5, help="Steps of a path.")] = 3,
    ends: Annotated[str | None, typer.Option(help="entry or exit: first or last items instead of paths.")] = None,
    start: Start = None,
    end: End = None,
    network: Network = None,
    workspace: Workspace = None,
    limit: Limit = 20,
    json: JsonFlag = False,
) -> None:
    """The paths that most sessions took: runs of 2 to 5 items viewed, one after the other.

    Of equally frequent ones that comes first which was met first.

    Example: [bold]tally paths --length 2 --from -7d[/]

    Example: [bold]tally paths --ends entry --network app[/]
    """
    from serving.journeys.answers import session_ends, top_paths

    scope = _scope(start, end, workspace, network)
    client = _client()
    found = session_ends(client, scope, ends, limit) if ends else top_paths(client, scope, length, limit)
    if json:
        print_json(found.to_dicts())
        return
    what = "item" if ends else "path"
    rows = [
        (
            row["item"] if ends else _path(row["path"]),
            number(row["sessions"]),
            number(row["engaged"]),
            iso(row["met_first"]),
        )
        for row in found.to_dicts()
    ]
    title = f"{ends.capitalize()} items" if ends else f"Paths of {length} steps"
    out().print(table(title, (what, "sessions", "engaged", "met first"), rows, right=("sessions", "engaged")))
    _say_if_empty(rows, f"No session with {'views' if ends else f'{length} steps'} in this range.")


def funnel(
    *,
    step: Annotated[list[str], typer.Option(help="TYPE or TYPE:ITEM, in order, one to six times.")],
    within: Annotated[str, typer.Option(help="Time limit from the first step: 30m, 1d, 2w.")] = "1d",
    start: Start = None,
    end: End = None,
    network: Network = None,
    workspace: Workspace = None,
    json: JsonFlag = False,
) -> None:
    """How many people went through steps in order, in time; others may do anything in between.

    Of a person's attempts the one that gets furthest counts. People are counted who do the first step in the range.

    Example: [bold]tally funnel --step ad.impression --step ad.clicked --step ad.converted --within 7d[/]

    Example: [bold]tally funnel --step page.viewed:/price --step ad.converted --from -30d[/]
    """
    from serving.journeys.answers import Step, ask_funnel

    steps = [Step.parse(text) for text in step]
    given = ask_funnel(_client(), _scope(start, end, workspace, network), steps, parse_duration(within))
    if json:
        print_json({"within_ms": given.within.total_seconds() * 1000, "steps": given.frame.to_dicts()})
        return
    rows = [
        (
            row["step"],
            row["event"],
            number(row["people"]),
            _percent(row["of_previous"]),
            _percent(row["of_first"]),
            "-" if row["median_ms_from_previous"] is None else duration(row["median_ms_from_previous"] / 1000),
        )
        for row in given.frame.to_dicts()
    ]
    columns = ("step", "event", "people", "of previous", "of first", "median time")
    out().print(table(f"Funnel within {within}", columns, rows, right=columns[2:]))
    if not given.frame["people"][0]:
        out().print(f"Nobody did step 1, {steps[0]}, in this range.", markup=False)


def retention(
    *,
    start: Start = None,
    end: End = None,
    tz: Annotated[str, typer.Option(help="Time zone in which weeks begin.")] = "UTC",
    network: Network = None,
    workspace: Workspace = None,
    json: JsonFlag = False,
) -> None:
    """Who came back: people by the week of their first session, and their share in the weeks after it.

    Weeks begin on Monday. The last week is not over as long as it is this week.

    Example: [bold]tally retention --from -8w[/]
    """
    from serving.journeys.answers import retention as ask

    parse_zone(tz)
    found = ask(_client(), _scope(start, end, workspace, network), tz)
    if json:
        print_json(found.to_dicts())
        return
    weeks = sorted(set(found["weeks_after"].to_list()) - {0})
    rows = []
    for (cohort,), mine in found.group_by("cohort", maintain_order=True):
        shares = {row["weeks_after"]: row for row in mine.to_dicts()}
        first = shares[0]["people"] if 0 in shares else None
        rows.append(
            (f"{cohort:%Y-%m-%d}", number(first), *(_percent(shares.get(w, {}).get("of_cohort")) for w in weeks))
        )
    columns = ("week of", "people", *(f"+{week}" for week in weeks))
    out().print(table("Retention by week", columns, rows, right=columns[1:]))
    _say_if_empty(rows, "No session in this range.")


def score(
    *,
    by: Annotated[str, typer.Option(help="What is scored: object, campaign, topic, network or workspace.")] = "object",
    version: Annotated[int | None, typer.Option(min=1, help="Version of the weights (default: the newest).")] = None,
    start: Start = None,
    end: End = None,
    network: Network = None,
    workspace: Workspace = None,
    limit: Limit = 20,
    json: JsonFlag = False,
) -> None:
    """Engagement scores: events weighed by what they ask of people, by versioned weights (contracts/scores).

    Example: [bold]tally score --by topic --from -1d[/]

    Example: [bold]tally score --by campaign --version 1 --json[/]
    """
    from contracts.scores import ScoreError, find_score
    from serving.journeys.scores import score_answer
    from serving.query import MetricQuery

    try:
        chosen = find_score("engagement", version)
    except ScoreError as error:
        raise CliError(str(error)) from error
    first, last = parse_open_range(start, end)
    question = MetricQuery(
        "events", by=(by,), grain="total", start=first, end=last, workspace=workspace,
        filters={"network": [network]} if network else {},
    )  # fmt: skip
    found, counts = score_answer(_client(), chosen, question, limit)
    if json:
        document = {"score": chosen.model_dump(mode="json"), "as_of": counts.as_of, "rows": found.to_dicts()}
        print_json(document)
        return
    numbers = [name for name in found.columns if name != by]
    rows = [(row[by], *(number(row[name]) for name in numbers)) for row in found.to_dicts()]
    out().print(table(f"{chosen.title}, version {chosen.version}", (by, *numbers), rows, right=numbers))
    _say_if_empty(rows, "No event that scores in this range.")


def _say_if_empty(rows: Sequence[object], text: str) -> None:
    if not rows:
        out().print(text)


def _client() -> Client:
    from resources.clickhouse import open_clickhouse

    return open_clickhouse(load_settings().clickhouse_url)


def _scope(
    start: str | None, end: str | None, workspace: str | None, network: str | None, actor: str | None = None
) -> Scope:
    from serving.journeys.answers import Scope

    first, last = parse_open_range(start, end)
    return Scope(first, last, workspace, network, actor)


def _path(path: list[str]) -> str:
    return " → ".join(path[:8]) + (" → …" if len(path) > 8 else "")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"

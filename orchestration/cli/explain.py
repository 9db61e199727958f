"""`explain`: one number down to formula, SQL, builds, log offsets, archive parts and restatements.

Belongs here: arguments and tables. Does not belong here: finding any of it (`serving.explain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import ExitCode
from orchestration.cli.output import JsonFlag, bad, good, out, print_json, table, warn
from orchestration.cli.query import filters_of
from orchestration.cli.times import iso, number, parse_time, parse_zone

if TYPE_CHECKING:
    from serving.explain import Explanation

SHOWN = 20


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Proof")(explain)


def explain(
    metric: Annotated[str, typer.Argument(help="Id of a metric; `tally metrics` lists them.")],
    *,
    at: Annotated[str, typer.Option(help="An instant in the bucket: 2026-11-20T13:00, -2h, now.")],
    grain: Annotated[str, typer.Option(help="The bucket: minute, hour, day, week or month.")] = "hour",
    tz: Annotated[str, typer.Option(help="Time zone of the bucket and of a time without an offset.")] = "UTC",
    where: Annotated[list[str] | None, typer.Option(help="DIMENSION=VALUE, repeatable.")] = None,
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: all).")] = None,
    as_of: Annotated[str | None, typer.Option(help="Explain the answer that was given then.")] = None,
    json: JsonFlag = False,
) -> None:
    """Explain one number: formula, SQL, the builds it comes from, the log offsets of its events, and every restatement.

    Counts of events are counted once more from the rows at these offsets. Exit code 1 when that gives another number.

    Example: [bold]tally explain events --at -2h[/]

    Example: [bold]tally explain conversation_rate --at 2026-11-20 --grain day --where network=app[/]
    """
    from datetime import UTC, datetime

    from resources.clickhouse import open_clickhouse
    from serving.explain import explain as explained
    from serving.query import MetricQuery

    settings = load_settings()
    zone, now = parse_zone(tz), datetime.now(UTC)
    question = MetricQuery(
        metric=metric,
        grain=grain,  # type: ignore[arg-type]  # serving checks the name and lists the known ones
        tz=tz,
        as_of=parse_time(as_of, now=now, zone=zone) if as_of else None,
        workspace=workspace,
        filters=filters_of(where),
    )
    found = explained(open_clickhouse(settings.clickhouse_url), question, parse_time(at, now=now, zone=zone))
    if json:
        print_json(_document(found))
    else:
        _show(found)
    if found.proven is False:
        raise typer.Exit(ExitCode.PROBLEM)


def _document(found: Explanation) -> dict[str, Any]:
    import orjson

    return {
        **orjson.loads(found.answer.body()),
        "definition": found.metric.model_dump(mode="json"),
        "sql": found.answer.sql,
        "asset": found.asset,
        "counted_at_offsets": found.counted,
        "proven": found.proven,
        "seals": found.seals.to_dicts(),
        "offsets": found.offsets.to_dicts(),
        "archive_parts": found.parts.to_dicts(),
        "restatements": found.restatements.to_dicts(),
    }


def _show(found: Explanation) -> None:
    metric, given, console = found.metric, found.answer, out()
    row = given.frame.row(0, named=True)
    value = "null" if found.value is None else number(found.value)
    title = f"{metric.title}: {value} {metric.unit if found.value is not None else f'({metric.null_rule})'}"
    facts: list[tuple[object, object]] = [
        ("bucket", f"[{iso(given.start)}, {iso(given.end)}), one {given.query.grain} in {given.query.tz}"),
        ("complete", "yes" if row["complete"] else warn("no: it can still change")),
        ("formula", f"{metric.formula}   ({metric.id}, version {metric.version})"),
        ("source", metric.source),
        ("null rule", metric.null_rule),
    ]
    if "numerator" in row:
        facts += [("numerator", number(row["numerator"])), ("denominator", number(row["denominator"]))]
    console.print(table(title, ("", ""), facts))
    _show_seals(found)
    _show_rows(found)
    _show_changes(found)
    console.print("\nSQL", style="bold")
    console.print(given.sql, markup=False, highlight=False, soft_wrap=True)


def _show_seals(found: Explanation) -> None:
    console = out()
    current = found.seals.filter("current")
    if current.is_empty():
        console.print(warn("No sealed build yet: answered from live rows."))
        return
    rows = [
        (iso(r["bucket"]), r["network"], number(r["events"]), r["build"][:8], iso(r["sealed_at"]), r["cause"])
        for r in current.head(SHOWN).iter_rows(named=True)
    ]
    columns = ("bucket", "network", "events", "build", "sealed at", "why")
    console.print(table(f"Sealed: asset {found.asset}", columns, rows, right=("events",)))
    if (older := found.seals.height - current.height) or current.height > SHOWN:
        console.print(
            f"{number(max(0, current.height - SHOWN))} more builds; {number(older)} superseded; --json has all"
        )


def _show_rows(found: Explanation) -> None:
    console = out()
    rows = [
        (
            f"{r['topic']}/{r['partition']}",
            r["type"],
            f"{r['first_offset']:,} to {r['last_offset']:,}",
            number(r["events"]),
        )
        for r in found.offsets.head(SHOWN).iter_rows(named=True)
    ]
    console.print(
        table("Made of these places of the log", ("log", "type", "offsets", "events"), rows, right=("events",))
    )
    if found.offsets.height > SHOWN:
        console.print(f"{number(found.offsets.height - SHOWN)} more; --json has all")
    if found.counted is not None:
        counted = " / ".join(number(each) for each in found.counted)
        text = f"counted again from these rows: {counted}"
        console.print(good(f"proven: {text}") if found.proven else bad(f"NOT EQUAL: {text}; `tally audit` says why"))
    for part in found.parts.head(3).iter_rows(named=True):
        text = f"archived in {part['path']}, {number(part['rows'])} rows of these hours"
        console.print(text, markup=False, soft_wrap=True)
    if found.parts.height > 3:
        console.print(f"and {number(found.parts.height - 3)} more archive parts")


def _show_changes(found: Explanation) -> None:
    console = out()
    if found.restatements.is_empty():
        console.print("Never restated.")
        return
    rows = [
        (iso(r["restated_at"]), iso(r["bucket"]), r["network"], r["type"] or r["metric"], r["member"] or "all",
         number(r["old"]), number(r["new"]), r["cause"])
        for r in found.restatements.tail(SHOWN).iter_rows(named=True)
    ]  # fmt: skip
    columns = ("when", "bucket", "network", "of", "member", "old", "new", "why")
    console.print(table("Restated", columns, rows, right=("old", "new")))
    if found.restatements.height > SHOWN:
        console.print(f"the newest {SHOWN} of {number(found.restatements.height)}; --json has all")

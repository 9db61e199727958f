"""`query`, `metrics` and `sql`: asking.

Belongs here: arguments and tables. Does not belong here: SQL of a metric (`contracts/metrics`), planning (`serving`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, fitting, out, print_json, table, warn
from orchestration.cli.times import ceil_to, counted, floor_to, iso, number, parse_open_range, parse_time, parse_zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import polars as pl

    from orchestration.settings import Settings
    from serving.query import MetricAnswer, MetricQuery

SHOWN_ROWS = 1000
MOST_EMPTY = 3
"""More empty buckets in a row than these are one line of a table."""


class Engine(StrEnum):
    CLICKHOUSE = "clickhouse"
    DUCKDB = "duckdb"


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Numbers")(query)
    app.command(rich_help_panel="Numbers")(metrics)
    app.command(rich_help_panel="Numbers")(sql)


def query(
    metric: Annotated[str, typer.Argument(help="Id of a metric; `tally metrics` lists them.")],
    *,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Group by what the metric has, e.g. network (docs/metrics.md lists it); repeatable."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="Start, inclusive (default: the first event).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, exclusive (default: past the last event).")] = None,
    grain: Annotated[str, typer.Option(help="minute, hour, day, week, month or total.")] = "hour",
    tz: Annotated[str, typer.Option(help="Time zone of buckets and of times without an offset.")] = "UTC",
    as_of: Annotated[str | None, typer.Option(help="Answer from what was known then.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="DIMENSION=VALUE, repeatable.")] = None,
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: all).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    order: Annotated[str, typer.Option(help="bucket, value or -value (largest first).")] = "bucket",
    json: JsonFlag = False,
) -> None:
    """Answer a metric by groups and time buckets, and say how complete the answer is.

    Example: [bold]tally query events --by network --grain day --from -2d[/]

    Example: [bold]tally query shares --by topic --grain total --order -value --limit 10[/]
    """
    from datetime import UTC, datetime

    from resources.clickhouse import open_clickhouse
    from serving.plan import check
    from serving.query import MetricQuery, answer

    settings = load_settings()
    zone, now = parse_zone(tz), datetime.now(UTC)
    first, last = _kept(metric, *parse_open_range(start, end, zone=zone, now=now))
    question = MetricQuery(
        metric=metric,
        by=_split(by),
        start=first,
        end=last,
        grain=grain,  # type: ignore[arg-type]  # serving checks the name and lists the known ones
        tz=tz,
        as_of=parse_time(as_of, now=now, zone=zone) if as_of else None,
        workspace=workspace,
        filters=filters_of(where),
        limit=limit,
        order=order,  # type: ignore[arg-type]  # likewise
    )
    check(question)  # before the store is asked: a wrong name is a wrong name, whether the store answers or not
    given = answer(open_clickhouse(settings.clickhouse_url), question)
    if json:
        import orjson

        print_json({**orjson.loads(given.body()), "unit": _unit(metric), "sql": given.sql})
    else:
        show_answer(given)


def show_answer(given: MetricAnswer) -> None:
    """Print an answer: unit, buckets with a mark on those that can still change, and how far it is complete."""
    question, frame = given.query, given.frame
    console = out()
    columns = [name for name in frame.columns if name not in {"bucket_end", "complete"}]
    total = question.grain == "total"
    if total:
        columns.remove("bucket")
    numeric = [name for name in columns if frame.schema[name].is_numeric()]
    unit = _unit(question.metric)
    title = question.metric + (f" ({unit})" if unit != question.metric else "")
    title += f" by {', '.join((*question.by, question.grain))}"
    told = _collapsed(frame, question)
    rows = [_cells(row, columns, question.grain) for row in told.head(SHOWN_ROWS).iter_rows(named=True)]
    console.print(table(title, (*columns, ""), rows, right=numeric))
    if left := int(told["alike"][SHOWN_ROWS:].sum()):
        console.print(warn(f"{left:,} more rows; --json has all of them, --limit fewer"))
    if frame.is_empty():
        console.print("No events in this range.")
    console.print(f"Range [{iso(given.start)}, {iso(given.end)}), buckets in {question.tz}.", markup=False)
    as_of = f"{given.as_of:%Y-%m-%dT%H:%M:%S.%fZ}"  # to the microsecond: asking --as-of it gives the same answer
    known = (
        f"Complete through {iso(given.complete_through)}" if given.complete_through else "Nothing of it is complete yet"
    )
    console.print(f"{known}; as of {as_of}.", markup=False)


def _kept(metric: str, start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The range in the quarters of an hour that facts are kept by; the answer names it. `-3h` is seldom one."""
    from contracts.facts import BUCKET
    from serving.plan import facts_of, find_metric

    if facts_of(find_metric(metric)) is None:
        return start, end
    return floor_to(start, BUCKET) if start else None, ceil_to(end, BUCKET) if end else None


def _collapsed(frame: pl.DataFrame, question: MetricQuery) -> pl.DataFrame:
    """Keep one row of many empty buckets in a row; `alike` says how many buckets a row stands for."""
    import polars

    if question.by or question.grain == "total":
        return frame.with_columns(alike=polars.lit(1))
    counts = [name for name in ("numerator", "denominator") if name in frame.columns] or ["value"]
    empty = polars.all_horizontal(polars.col(counts) == 0)
    told = frame.with_columns(run=polars.struct(empty.alias("empty"), "complete").rle_id())
    length = polars.len().over("run")
    told = told.with_columns(alike=polars.when(empty & (length > MOST_EMPTY)).then(length).otherwise(1))
    return told.filter((polars.col("alike") == 1) | polars.col("run").is_first_distinct())


def _cells(row: dict[str, Any], columns: Sequence[str], grain: str) -> list[object]:
    mark = "" if row["complete"] else warn("partial")
    if row["alike"] > 1:
        return [f"… {row['alike']:,} empty {grain}s …", *(_cell(row[name], grain) for name in columns[1:]), mark]
    return [*(_cell(row[name], grain) for name in columns), mark]


def _cell(value: object, grain: str) -> str:
    from datetime import datetime

    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d" if grain in {"day", "week", "month"} else "%Y-%m-%d %H:%M")
    return number(value)


def _unit(metric: str) -> str:
    from contracts.metric_catalogue import catalogue

    return catalogue()[metric].unit


def _split(values: list[str] | None) -> tuple[str, ...]:
    """Accept both `--by a --by b` and `--by a,b`."""
    return tuple(part.strip() for value in values or () for part in value.split(",") if part.strip())


def filters_of(where: list[str] | None) -> dict[str, list[str]]:
    """Return DIMENSION=VALUE conditions as values by dimension. Raises CliError for another form."""
    filters: dict[str, list[str]] = {}
    for condition in where or ():
        name, equals, value = condition.partition("=")
        if not equals or not name:
            raise CliError(f"--where {condition!r} is not of the form DIMENSION=VALUE")
        filters.setdefault(name, []).append(value)
    return filters


def metrics(json: JsonFlag = False) -> None:
    """List the metric catalogue: id, unit, how it adds up, formula.

    Example: [bold]tally metrics[/]
    """
    from contracts.metric_catalogue import catalogue

    entries = list(catalogue().values())
    if json:
        print_json([entry.model_dump(mode="json") for entry in entries])
        return
    rows = [(entry.id, entry.title, entry.unit, entry.additivity, entry.formula) for entry in entries]
    out().print(table("Metrics", ("id", "title", "unit", "additivity", "formula"), rows))


def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT.")],
    engine: Annotated[
        Engine, typer.Option(help="clickhouse, or duckdb over the Parquet archive (table `raw`).")
    ] = Engine.CLICKHOUSE,
    json: JsonFlag = False,
) -> None:
    """Run SQL against ClickHouse, or with DuckDB against the archive's Parquet files. Both are read-only here.

    Neither reads other files or addresses. Rows that are too wide for a table are shown one below the other.

    Example: [bold]tally sql "SELECT network, count() FROM events GROUP BY network"[/]

    Example: [bold]tally sql --engine duckdb "SELECT network, count(*) FROM raw GROUP BY ALL"[/]
    """
    settings = load_settings()
    frame = _clickhouse_sql(settings, statement) if engine is Engine.CLICKHOUSE else _duckdb_sql(settings, statement)
    if json:
        print_json(frame.to_dicts())
        return
    rows = [[number(cell) for cell in row] for row in frame.head(SHOWN_ROWS).iter_rows()]
    numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    console = out()
    console.print(fitting("", frame.columns, rows, right=numeric))
    console.print(counted(frame.height, "row") + (f", {SHOWN_ROWS:,} shown" if frame.height > SHOWN_ROWS else ""))


def _clickhouse_sql(settings: Settings, statement: str) -> pl.DataFrame:
    import polars
    from clickhouse_connect.driver.exceptions import DatabaseError

    from resources.clickhouse import open_clickhouse

    client = open_clickhouse(settings.clickhouse_url)
    try:
        answer = client.query(statement, settings={"readonly": 1})
    except DatabaseError as error:
        told = re.search(r"DB::Exception: (.*?)(?: \(version |$)", str(error), re.DOTALL)
        raise CliError(f"ClickHouse refused the statement: {told[1] if told else error}") from error
    return polars.DataFrame(
        [list(column) for column in answer.result_columns], schema=list(answer.column_names), strict=False
    )


def _duckdb_sql(settings: Settings, statement: str) -> pl.DataFrame:
    import duckdb
    import polars

    from resources.archive import open_archive

    archive = open_archive(settings.archive_url)
    parts = archive.parts()
    if not parts:
        raise CliError(
            f"the archive {settings.archive_url} holds no part yet", hint="`tally seal --from … --to …` archives events"
        )
    connection: Any = duckdb.connect()
    try:
        statements = connection.extract_statements(statement)
    except duckdb.Error as error:
        raise CliError(f"DuckDB refused the statement: {error}") from error
    if any(each.type != duckdb.StatementType.SELECT for each in statements):
        raise CliError("only SELECT statements: the archive is read, never changed")
    if settings.archive_url.startswith("file://"):
        # DuckDB reads the files itself: only the columns and row groups that the statement needs.
        root = Path(settings.archive_url.removeprefix("file://"))
        raw = connection.read_parquet([str(root / part.path) for part in parts])
        connection.register("raw", raw)
        connection.execute("SET allowed_paths = $paths", {"paths": [str(root / part.path) for part in parts]})
    else:
        connection.register("raw", archive.read(parts))
    connection.execute("SET enable_external_access = false")  # no other file of this machine can be read
    connection.execute("SET lock_configuration = true")
    try:
        answer: polars.DataFrame = connection.sql(statement).pl()
    except duckdb.Error as error:
        raise CliError(f"DuckDB refused the statement: {error}") from error
    return answer

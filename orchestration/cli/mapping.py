"""`mapping list|check`: is a network's mapping right, before anything is ingested with it?

Belongs here: reading a sample, showing what became of it. Does not belong here: mapping (`contracts.mapping`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, bad, good, out, print_json, table, warn
from orchestration.cli.times import counted, iso, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from contracts.mapping import MappedBatch, Mapping
    from streaming.sources.rows import Chunk

app = typer.Typer(help="Network mappings: list them, try one on a sample.", no_args_is_help=True)

CANONICAL = ("event_id", "type", "network", "actor", "object", "campaign", "topics", "event_time", "properties")


def register(parent: typer.Typer) -> None:
    app.command("list")(list_all)
    app.command()(check)
    parent.add_typer(app, name="mapping", rich_help_panel="Events")


def list_all(json: JsonFlag = False) -> None:
    """List the mappings that come with Tally.

    Example: [bold]tally mapping list[/]
    """
    from contracts.mapping import list_mappings, load_mapping

    specs = [load_mapping(name).spec for name in list_mappings()]
    if json:
        print_json([spec.model_dump(mode="json") for spec in specs])
        return
    rows = [(spec.name, f"@{spec.version}", spec.format, spec.description) for spec in specs]
    out().print(table("Mappings", ("name", "version", "format", "what"), rows))


def check(
    mapping: Annotated[str, typer.Argument(metavar="MAPPING", help="A mapping file (.yaml), or a name.")],
    sample: Annotated[Path, typer.Argument(help="A file of the network's rows; its head is enough.")],
    *,
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Map the first so many rows.")] = 1000,
    show: Annotated[int, typer.Option(min=0, help="Show so many canonical rows and rejects.")] = 5,
    workspace: Annotated[str, typer.Option(help="Workspace to map for.")] = "demo",
    json: JsonFlag = False,
) -> None:
    """Map a sample and show the canonical rows, the rejects with their reasons, and drift. Nothing is written.

    Exit code 1 when no row passes. Every key of a mapping, with examples: docs/mappings.md.

    Example: [bold]tally mapping check my_network.yaml sample.ndjson[/]
    """
    from contracts.mapping import load_mapping

    loaded = load_mapping(mapping)
    mapped, numbers = map_sample(loaded, sample, rows, workspace)
    doubled = rows_sharing_an_id(mapped.valid, numbers)
    valid, rejected = mapped.valid, mapped.rejected
    reasons = dict(rejected["reason"].value_counts(sort=True).iter_rows())
    if json:
        print_json(
            {
                "mapping": loaded.label,
                "rows": mapped.rows_read,
                "valid_events": valid.height,
                "rejected": reasons,
                "rows_sharing_an_id": doubled,
                "unknown_fields": mapped.unknown_fields,
                "type_changes": mapped.type_changes,
                "events": valid.select(CANONICAL).head(show).to_dicts(),
                "rejects": rejected.head(show).to_dicts(),
            }
        )
    else:
        _show(loaded, mapped, reasons, doubled=doubled, show=show)
    if not valid.height:
        raise typer.Exit(ExitCode.PROBLEM)


def rows_sharing_an_id(valid: pl.DataFrame, numbers: Sequence[int]) -> dict[str, list[int]]:
    """Return the numbers of the rows by event id, for every id that several events have; `numbers` are `valid`'s."""
    import polars as pl

    ids = valid.select("event_id", row=pl.Series(numbers, dtype=pl.Int64))
    shared = ids.group_by("event_id", maintain_order=True).agg("row").filter(pl.col("row").list.len() > 1)
    return dict(shared.iter_rows())


def _show(
    loaded: Mapping, mapped: MappedBatch, reasons: dict[str, int], *, doubled: dict[str, list[int]], show: int
) -> None:
    import polars as pl

    console = out()
    valid, rejected = mapped.valid, mapped.rejected
    verdict = (
        good("fine") if not rejected.height else (warn("some rows refused") if valid.height else bad("no row passes"))
    )
    console.print(f"{loaded.label} on {counted(mapped.rows_read, 'row')}: ", end="", markup=False)
    console.print(verdict)
    console.print(f"{counted(valid.height, 'event')}, {counted(rejected.height, 'row')} refused.", markup=False)
    for event in valid.select(CANONICAL).head(show).iter_rows(named=True):
        cells = [(name, _text(value)) for name, value in event.items()]
        console.print(table("", ("column", "value"), cells))
    if valid.height:
        types = valid["type"].value_counts(sort=True).iter_rows()
        first, last = valid.select(first=pl.col("event_time").min(), last=pl.col("event_time").max()).row(0)
        console.print("types: " + ", ".join(f"{name} {number(count)}" for name, count in types), markup=False)
        console.print(f"times: {iso(first)} to {iso(last)}", markup=False)
        for event_id, numbers in list(doubled.items())[: max(show, 1)]:
            console.print(warn(f"rows {', '.join(map(str, numbers))} share the id {event_id}"))
        if doubled:
            more = sum(map(len, doubled.values())) - len(doubled)
            told = f"{counted(more, 'event')} would be a duplicate: are the identity columns enough?"
            console.print(warn(told))
    if reasons:
        console.print(
            table("Refused", ("reason", "rows"), [(k, number(v)) for k, v in reasons.items()], right=("rows",))
        )
        for row in rejected.head(show).iter_rows(named=True):
            console.print(f"  {row['place']}: {row['detail']}", markup=False)
    for title, counts in (
        ("Fields unknown to the mapping", mapped.unknown_fields),
        ("Type changes", mapped.type_changes),
    ):
        if counts:
            cells = [(name, number(count)) for name, count in sorted(counts.items(), key=lambda item: -item[1])]
            console.print(table(title, ("field", "rows"), cells, right=("rows",)))


def _text(value: Any) -> str:
    import polars

    if isinstance(value, polars.Series):
        value = ", ".join(map(str, value))
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def map_sample(mapping: Mapping, sample: Path, rows: int, workspace: str) -> tuple[MappedBatch, list[int]]:
    """Map the first `rows` rows of a file; also return, for every valid event, its row's number there.

    Raises SourceError and MappingError naming file and place."""
    from datetime import UTC, datetime

    from contracts.batch import Context
    from streaming.sources.bytes import read_blocks
    from streaming.sources.rows import read_chunks

    chunk: Chunk | None = next(iter(read_chunks(sample, read_blocks(sample), mapping.spec, rows)), None)
    if chunk is None:
        raise CliError(f"{sample} holds no rows")
    context = Context(
        workspace=workspace,
        received_at=datetime.now(UTC),
        receipt_id="check",
        source=sample.name,
        first_row=chunk.first_row,
        row_numbers=chunk.row_numbers,
    )
    mapped = mapping.apply(chunk.rows, context)
    numbers = [context.row_number(position) for position in mapped.valid_positions]
    return (_with_misshapen(mapped, chunk, context, mapping.name) if chunk.misshapen else mapped), numbers


def _with_misshapen(mapped: MappedBatch, chunk: Chunk, context: Any, network: str) -> MappedBatch:
    import dataclasses

    import polars

    from contracts.rejects import reject_frame

    refused: pl.DataFrame = reject_frame(
        chunk.misshapen,
        source=context.source,
        workspace=context.workspace,
        network=network,
        received_at=context.received_at,
        receipt_id=context.receipt_id,
    )
    return dataclasses.replace(
        mapped, rejected=polars.concat([mapped.rejected, refused]), rows_read=mapped.rows_read + len(chunk.misshapen)
    )

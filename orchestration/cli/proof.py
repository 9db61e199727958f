"""`ledger`, `gaps`, `verify`: does every event have its verdict, is every hour there, is live what sealed says?

Belongs here: arguments and tables. Does not belong here: the checks (`serving`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import ExitCode
from orchestration.cli.output import JsonFlag, bad, good, out, print_json, table
from orchestration.cli.times import number

if TYPE_CHECKING:
    import polars as pl

    from orchestration.settings import Settings

VERDICTS = ("taken", "stored", "duplicate", "quarantined", "missing", "doubled", "lag")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Proof")(ledger)


def ledger(
    *,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="One row per partition instead of per topic.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Prove the account: every log offset a group has taken is stored, duplicate or quarantined, exactly once.

    Exit code 1 when an offset is missing or doubled; the first missing ones are listed.

    Example: [bold]tally ledger --json | jq .balanced[/]
    """
    frame = read_ledger(load_settings())
    balanced = bool(frame["balanced"].all())
    if json:
        print_json({"balanced": balanced, "rows": frame.to_dicts()})
    else:
        show_ledger(frame, partitions=partitions)
    if not balanced:
        raise typer.Exit(ExitCode.PROBLEM)


def read_ledger(settings: Settings) -> pl.DataFrame:
    """Return the account of both stores (`serving.ledger.LEDGER_SCHEMA`)."""
    from orchestration.stack.stores import event_log, raw_store
    from resources.clickhouse import open_clickhouse
    from serving.ledger import ledger as account

    with event_log(settings) as log, raw_store(settings) as store:
        return account(log, store, open_clickhouse(settings.clickhouse_url))


def show_ledger(frame: pl.DataFrame, *, partitions: bool = False) -> None:
    """Print the account per topic (or partition), its verdict, and where offsets are missing."""
    import polars

    keys = ["group", "topic", *(["partition"] if partitions else [])]
    sums = frame.group_by(keys, maintain_order=True).agg(
        *(polars.col(name).sum() for name in VERDICTS), polars.col("balanced").all()
    )
    rows = [
        [*(str(row[key]) for key in keys), *(number(row[name]) for name in VERDICTS), _mark(balanced=row["balanced"])]
        for row in sums.to_dicts()
    ]
    console = out()
    console.print(
        table("Ledger: taken = stored + duplicate + quarantined", (*keys, *VERDICTS, ""), rows, right=VERDICTS)
    )
    for row in frame.filter(~polars.col("balanced")).to_dicts():
        holes = ", ".join(map(str, row["holes"][:20])) + (" …" if row["missing"] > 20 else "")
        where = f"{row['group']}: {row['topic']}/{row['partition']}"
        console.print(bad(f"{where}: {row['missing']:,} missing ({holes or '-'}), {row['doubled']:,} doubled"))
    if bool(frame["balanced"].all()):
        taken = {group: int(part["taken"].sum()) for (group,), part in frame.group_by("group", maintain_order=True)}
        console.print(good("balanced: " + ", ".join(f"{group} {number(count)}" for group, count in taken.items())))
    else:
        console.print(bad("NOT BALANCED"), "— `tally replay` writes missing rows again from the log")


def _mark(*, balanced: bool) -> object:
    return good("ok") if balanced else bad("NOT BALANCED")

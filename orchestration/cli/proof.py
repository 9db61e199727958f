"""`ledger`, `gaps`, `verify`: does every event have its verdict, is every hour there, is live what sealed says?

Belongs here: arguments and tables. Does not belong here: the checks (`serving`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.audit import as_json, read_audit, show_audit
from orchestration.cli.context import load_settings
from orchestration.cli.errors import ExitCode
from orchestration.cli.output import JsonFlag, bad, good, out, print_json, table, warn
from orchestration.cli.times import iso, number, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from orchestration.settings import Settings

VERDICTS = ("taken", "stored", "duplicate", "quarantined", "missing", "doubled", "lag")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Proof")(ledger)
    app.command(rich_help_panel="Proof")(verify)
    app.command(rich_help_panel="Proof")(gaps)


def ledger(
    *,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="One row per partition instead of per topic.")
    ] = False,
    with_audit: Annotated[
        bool, typer.Option("--audit/--no-audit", help="Also compare the content of every store (`tally audit`).")
    ] = True,
    json: JsonFlag = False,
) -> None:
    """Prove the account: every log offset a group has taken is stored, duplicate or quarantined, exactly once.

    Then the audit compares what the stores hold, column by column. Exit code 1 when an offset is missing or doubled, or
    when any store holds anything else than what it was made from; each finding is named.

    Example: [bold]tally ledger --json | jq .balanced[/]
    """
    settings = load_settings()
    frame = read_ledger(settings)
    balanced = bool(frame["balanced"].all())
    report = read_audit(settings) if with_audit else None
    if json:
        print_json(
            {"balanced": balanced, "rows": frame.to_dicts(), "audit": None if report is None else as_json(report)}
        )
    else:
        show_ledger(frame, partitions=partitions)
        if report is not None:
            show_audit(report)
    if not balanced or (report is not None and not report.clean):
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
        console.print(bad("NOT BALANCED"), "— `tally repair` puts it right from the log")


def _mark(*, balanced: bool) -> object:
    return good("ok") if balanced else bad("NOT BALANCED")


def verify(
    *,
    start: Annotated[str | None, typer.Option("--from", help="Hours from here (default: the first).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Hours before (default: past the last).")] = None,
    network: Annotated[list[str] | None, typer.Option(help="One network, repeatable (default: all).")] = None,
    json: JsonFlag = False,
) -> None:
    """Compare live with sealed, hour by hour, and the events of every store. Exit code 1: a row was lost or doubled.

    `late` hours got events after they were sealed: the next sealing takes them in and notes a restatement.

    Example: [bold]tally verify --from -2d[/]
    """
    found = read_verdicts(load_settings(), start, end, network)
    if json:
        print_json(
            {
                "ok": found.ok,
                "balanced": found.balanced,
                "verdicts": found.counts,
                "totals": found.totals,
                "hours": found.hours.to_dicts(),
            }
        )
    else:
        show_verdicts(found)
    if not found.ok:
        raise typer.Exit(ExitCode.PROBLEM)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """`hours`: one row per sealed (hour, network) (`serving.verify.VERIFY_SCHEMA`). `totals`: events per store.

    `balanced`: whether both stores account for every offset, so that a row lost or doubled in either is not overlooked
    where the rollups still agree.
    """

    hours: pl.DataFrame
    totals: Mapping[str, int]
    balanced: bool

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.hours["verdict"].value_counts(sort=True).iter_rows())

    @property
    def ok(self) -> bool:
        return self.balanced and "different" not in self.counts


def read_verdicts(
    settings: Settings, start: str | None = None, end: str | None = None, networks: Sequence[str] | None = None
) -> Verdicts:
    """Ask for the comparison and the totals. Times as `times.parse_time` reads them."""
    from datetime import UTC, datetime

    from orchestration.stack.stores import event_log, raw_store
    from resources.clickhouse import open_clickhouse
    from serving.ledger import ledger as account
    from serving.verify import totals
    from serving.verify import verify as compare

    now = datetime.now(UTC)
    first, last = (parse_time(text, now=now) if text else None for text in (start, end))
    client = open_clickhouse(settings.clickhouse_url)
    with event_log(settings) as log, raw_store(settings) as store:
        balanced = bool(account(log, store, client)["balanced"].all())
        return Verdicts(compare(client, first, last, networks), totals(client, log, store), balanced)


def show_verdicts(found: Verdicts) -> None:
    """Print the verdicts, hours that differ, and the totals of the stores."""
    import polars

    console = out()
    wrong = found.hours.filter(polars.col("verdict").is_in(["different", "late", "filtered"])).head(50)
    if wrong.height:
        columns = ("live", "sealed", "considered", "admitted", "differing_rows")
        rows = [
            [iso(row["bucket"]), row["network"], *(number(row[name]) for name in columns), row["verdict"]]
            for row in wrong.to_dicts()
        ]
        console.print(table("Hours that are not equal", ("hour", "network", *columns, "verdict"), rows, right=columns))
    totals = [(name, number(count)) for name, count in found.totals.items()]
    console.print(table("Events per store", ("store", "events"), totals, right=("events",)))
    if found.hours.is_empty():
        console.print("No hour is sealed in this range, so there is nothing to compare.")
    else:
        told = ", ".join(f"{number(count)} {verdict}" for verdict, count in found.counts.items())
        console.print(_headline(found), f"in {number(found.hours.height)} sealed hours: {told}", sep=" ")
    if not found.balanced:
        console.print(
            bad("A store has lost or doubled rows"),
            "— equal hours do not make up for that; `tally ledger` names store, partition and offsets",
        )
    console.print("Slices and hours hold what was sealed: hours that still fill are in the other stores only.")
    console.print("This compares counts per hour; [bold]tally audit[/] compares every value of every row.")


def _headline(found: Verdicts) -> object:
    if "different" in found.counts:
        return bad("LIVE DIFFERS FROM SEALED")
    if "late" in found.counts:
        return warn("live is ahead of late hours, which the next sealing takes in,")
    if not found.balanced:
        return warn("the rollups of live and sealed are equal, but rows are lost or doubled,")
    return good("live = sealed")


def gaps(json: JsonFlag = False) -> None:
    """List what is missing, each with the command that fills it: lost rows, unarchived ranges, hours without a seal.

    Exit code 1 when something is. What was archived within the last minutes is on its way, and no gap yet.

    Example: [bold]tally gaps[/]
    """
    from orchestration.stack.stores import event_log, raw_store
    from resources.archive import open_archive
    from resources.clickhouse import open_clickhouse
    from serving.gaps import ON_ITS_WAY
    from serving.gaps import gaps as find

    settings = load_settings()
    with event_log(settings) as log, raw_store(settings) as store:
        found = find(log, store, open_clickhouse(settings.clickhouse_url), open_archive(settings.archive_url))
    waiting = found["kind"] == ON_ITS_WAY
    missing = found.filter(~waiting)
    console = out()
    if json:
        print_json(
            {"ok": missing.is_empty(), "gaps": missing.to_dicts(), "on_its_way": found.filter(waiting).to_dicts()}
        )
    else:
        for row in missing.to_dicts():
            console.print(f"{row['kind']:<13} {row['place']}: {row['detail']}", markup=False)
            console.print(f"              → {row['command']}", markup=False, style="yellow")
        for row in found.filter(waiting).to_dicts():
            console.print(f"{'on its way':<13} {row['place']}: {row['detail']}", markup=False)
        if missing.is_empty():
            console.print(good("nothing is missing"))
    if not missing.is_empty():
        raise typer.Exit(ExitCode.PROBLEM)

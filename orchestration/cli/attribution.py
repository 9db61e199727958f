"""`attribution` and `ads`: which ads earned what, by six models side by side; and ads by segment.

Belongs here: arguments and tables. Does not belong here: the answers (`serving.attribution`), the models (`analytics`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.output import JsonFlag, out, print_json, table, warn
from orchestration.cli.times import iso, number, parse_range, to_quarters

if TYPE_CHECKING:
    from serving.attribution import Attribution

_MILLION = 1_000_000

Segment = Annotated[str, typer.Option(help="campaign, ad, advertiser, placement, device, age, gender or country.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Numbers")(attribution)
    app.command(rich_help_panel="Numbers")(ads)


def attribution(
    *,
    compare: Annotated[bool, typer.Option("--compare", help="All six models side by side (else: last touch).")] = False,
    start: Annotated[str, typer.Option("--from", help="Start, inclusive.")] = "-7d",
    end: Annotated[str, typer.Option("--to", help="End, exclusive.")] = "now",
    basis: Annotated[str, typer.Option(help="Date by conversion, or by the ad that earned it.")] = "conversion",
    by: Annotated[
        str, typer.Option(help="campaign, ad, advertiser, placement, device, age, gender, country.")
    ] = "campaign",
    campaign: Annotated[list[str] | None, typer.Option(help="Only these members of --by; repeatable.")] = None,
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: all).")] = None,
    network: Annotated[str | None, typer.Option(help="One network (default: all).")] = None,
    json: JsonFlag = False,
) -> None:
    """Say what each campaign earned, what no touch earned, and that both sum to all revenue, to the last unit.

    Example: [bold]tally attribution --compare --from -7d[/]

    Example: [bold]tally attribution --compare --basis ad --by device --campaign ios[/]
    """
    from datetime import UTC, datetime

    from resources.clickhouse import open_clickhouse
    from serving.attribution import AttributionQuery
    from serving.attribution import compare as ask
    from serving.progress import read_progress

    first, last = parse_range(start, end)
    client = open_clickhouse(load_settings().clickhouse_url)
    question = AttributionQuery(
        first, last, basis, by, workspace, network, campaign or ()  # type: ignore[arg-type]  # serving checks the name
    )  # fmt: skip
    given = ask(client, question, read_progress(client, datetime.now(UTC), None).complete_until)
    if json:
        print_json(
            {
                "from": first,
                "to": last,
                "basis": basis,
                "by": by,
                "currency": given.currency,
                "rules_version": given.rules_version,
                "maturity": given.maturity,
                "unit": {"credit": "millionths of a conversion", "revenue": "minor units"},
                "rows": given.frame.to_dicts(),
            }
        )
    else:
        show_attribution(given, side_by_side=compare)


def show_attribution(given: Attribution, *, side_by_side: bool) -> None:
    """Print conversions and revenue by model, a column each."""
    from contracts.ads import MODELS

    console, query = out(), given.query
    models = MODELS if side_by_side else ("last",)
    named = [model.replace("_", " ") for model in models]
    for kind, what in (("credit", "conversions"), ("revenue", f"revenue ({given.currency}, minor units)")):
        rows = [
            [row["member"], number(row["conversions"]), *(_earned(kind, row[f"{kind}_{model}"]) for model in models)]
            for row in given.frame.to_dicts()
        ]
        title = f"Attributed {what} by {query.by}"
        console.print(table(title, (query.by, "conversions", *named), rows, right=("conversions", *named)))
    told = f"Dated by {query.basis}, [{iso(query.start)}, {iso(query.end)}); rules version {given.rules_version}."
    console.print(told, markup=False)
    if given.maturity is None:
        console.print(warn("no events yet"))
    elif given.maturity < 1:
        console.print(
            warn(f"{given.maturity:.0%} of the look-back has passed: conversions still to come can add to it")
        )


def _earned(kind: str, value: int) -> str:
    return f"{value / _MILLION:,.2f}" if kind == "credit" else number(value)


def ads(
    *,
    by: Annotated[
        str, typer.Option(help="campaign, ad, advertiser, placement, device, age, gender, country.")
    ] = "campaign",
    start: Annotated[str, typer.Option("--from", help="Start, inclusive.")] = "-7d",
    end: Annotated[str, typer.Option("--to", help="End, exclusive.")] = "now",
    workspace: Annotated[str | None, typer.Option(help="One workspace (default: all).")] = None,
    network: Annotated[str | None, typer.Option(help="One network (default: all).")] = None,
    json: JsonFlag = False,
) -> None:
    """Show ad performance by segment, raw and with invalid traffic removed; segments of few people are hidden.

    Example: [bold]tally ads --by device --from -7d --to today[/]
    """
    from resources.clickhouse import open_clickhouse
    from serving.attribution import segments

    first, last = to_quarters(*parse_range(start, end))
    frame = segments(
        open_clickhouse(load_settings().clickhouse_url), first, last, by, workspace=workspace, network=network
    )
    if json:
        print_json({"from": first, "to": last, "by": by, "rows": frame.to_dicts()})
        return
    shown = ("people", "ad_impressions", "ad_clicks", "ad_clicks_valid", "ad_conversions_valid", "ad_cost_minor")
    ratios = ("ctr", "ctr_valid", "cpm", "cpc", "cpa", "cvr")
    titles = ("people", "impressions", "clicks", "valid", "conversions", "cost", *ratios)
    rows = [[row["member"], *_cells(row, (*shown, *ratios))] for row in frame.to_dicts()]
    console = out()
    console.print(table(f"Ads by {by}, cost in minor units", (by, *titles, ""), rows, right=titles))
    console.print(f"Range [{iso(first)}, {iso(last)}).", markup=False)


def _cells(row: dict[str, object], names: tuple[str, ...]) -> list[object]:
    if row["hidden"]:
        return [*("" for _ in names), warn("too few people")]
    return [*(number(row[name]) for name in names), ""]

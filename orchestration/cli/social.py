"""`social`: rates and engagement of posts, followers, best posts, campaigns, competitors, economic value.

Belongs here: arguments and tables. Does not belong here: the answers (`serving.social`), formulas (`analytics`).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, fitting, out, print_json
from orchestration.cli.times import iso, number, parse_range, to_quarters

if TYPE_CHECKING:
    import polars as pl

    from resources.clickhouse import Client
    from serving.social.answers import Period

Start = Annotated[str, typer.Option("--from", help="Start, inclusive.")]
End = Annotated[str, typer.Option("--to", help="End, exclusive.")]
Workspace = Annotated[str | None, typer.Option(help="One workspace (default: all).")]
Network = Annotated[str | None, typer.Option(help="One network (default: all).")]
Account = Annotated[list[str] | None, typer.Option(help="Only this account; repeatable.")]
By = Annotated[str, typer.Option(help="network, account or campaign.")]
Clicks = Annotated[bool, typer.Option("--with-clicks", help="Clicks count as engagements too.")]

GROUPS = ("network", "account", "campaign")

app = typer.Typer(no_args_is_help=True, help="Posts, followers and accounts: rates, engagement, comparisons.")


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="social", rich_help_panel="Numbers")


@app.command("rates")
def show_rates(
    *,
    by: By = "network",
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    account: Account = None,
    json: JsonFlag = False,
) -> None:
    """Conversation, amplification and applause per post, and relative to 1,000 followers on both bases.

    Example: [bold]tally social rates --by account --network sim[/]
    """
    from serving.social.answers import posts_of, rates_of

    client, period = _asked(start, end, workspace, network, account)
    _show("Rates per post", rates_of(posts_of(client, period), _group(by)), period, json=json, by=by)


@app.command("engagement")
def show_engagement(
    *,
    by: By = "network",
    with_clicks: Clicks = False,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    account: Account = None,
    json: JsonFlag = False,
) -> None:
    """Engagement rates in every variant: by followers (pooled, mean of posts, of days), reach, impressions, views.

    Example: [bold]tally social engagement --by account --from -30d[/]
    """
    from analytics.social import engagement_rates
    from serving.social.answers import posts_of

    client, period = _asked(start, end, workspace, network, account)
    found = engagement_rates(posts_of(client, period), _group(by), clicks=with_clicks)
    what = "engagements_with_clicks" if with_clicks else "engagements"
    _show(f"Engagement rates ({what})", found.sort("posts", by, descending=[True, False]), period, json=json, by=by)


@app.command("posts")
def show_posts(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many posts.")] = 10,
    worst: Annotated[bool, typer.Option("--worst", help="The fewest engagements first.")] = False,
    with_clicks: Clicks = False,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    account: Account = None,
    json: JsonFlag = False,
) -> None:
    """The best posts of a period, or the worst.

    Example: [bold]tally social posts --limit 5 --network sim[/]
    """
    from analytics.social import ranked_posts
    from serving.social.answers import posts_of

    client, period = _asked(start, end, workspace, network, account)
    found = ranked_posts(posts_of(client, period), limit, worst=worst, clicks=with_clicks)
    columns = ("network", "account", "post", "posted_at", "engagements", "reactions", "comments", "shares", "views")
    _show("Worst posts" if worst else "Best posts", found.select(*columns, "by_followers"), period, json=json)


@app.command("density")
def show_density(
    *,
    by: By = "account",
    limit: Annotated[int, typer.Option(min=1, help="How many groups, the busiest first.")] = 50,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    account: Account = None,
    json: JsonFlag = False,
) -> None:
    """Posts per day, days with a post, and the longest silence between two posts.

    Example: [bold]tally social density --by network[/]
    """
    from analytics.social import density
    from serving.social.answers import posts_of

    client, period = _asked(start, end, workspace, network, account)
    found = density(posts_of(client, period), _group(by), period.end - period.start)
    _show("Posting density", found.sort("posts", by, descending=[True, False]).head(limit), period, json=json, by=by)


@app.command("campaign")
def show_campaign(
    campaign: Annotated[str, typer.Argument(help="The campaign, as its posts name it.")],
    *,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    json: JsonFlag = False,
) -> None:
    """A campaign's posts against the same accounts' usual ones.

    Example: [bold]tally social campaign spring --from -30d[/]
    """
    from analytics.social import campaign_against_usual
    from serving.social.answers import posts_of

    client, period = _asked(start, end, workspace, network, None)
    found = campaign_against_usual(posts_of(client, period), campaign)
    _show(f"Campaign {campaign} against usual posts", found, period, json=json)


@app.command("followers")
def show_followers(
    *,
    every: Annotated[int, typer.Option(min=1, help="Minutes between two expected readings.")] = 60,
    provenance: Annotated[
        list[str] | None, typer.Option(help="observed, imported, interpolated, estimated (default: the first two).")
    ] = None,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    account: Account = None,
    json: JsonFlag = False,
) -> None:
    """Average followers by readings and by time, with coverage, and growth; guessed points stay out unless asked for.

    Example: [bold]tally social followers --network ira_tweets --from 2015-01-01 --every 1440[/]
    """
    from analytics.followers import COUNTED
    from serving.social.answers import followers_of

    client, period = _asked(start, end, workspace, network, account)
    found = followers_of(client, period, timedelta(minutes=every), tuple(provenance or COUNTED))
    _show("Followers", found, period, json=json)


@app.command("benchmark")
def show_benchmark(
    metric: Annotated[str, typer.Argument(help="applause_rate, by_followers_pooled, posts, growth, …")],
    *,
    accounts: Annotated[Path | None, typer.Option(help="Setting of own accounts and competitors (YAML).")] = None,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    json: JsonFlag = False,
) -> None:
    """Own accounts and competitors by one metric: shares of the best and of the average.

    What only an account's owner can know is refused for competitors, with the reason.

    Example: [bold]tally social benchmark applause_rate --accounts accounts.yaml[/]
    """
    from contracts.accounts import ACCOUNTS_FILE, load_accounts
    from serving.social.answers import benchmark

    setting = load_accounts(accounts or ACCOUNTS_FILE)
    client, period = _asked(start, end, workspace, None, None)
    found = benchmark(client, period, metric, setting)
    if found.is_empty():
        raise CliError("the setting names no accounts", hint="give --accounts FILE; docs/social-metrics.md")
    _show(f"{metric} of accounts (setting version {setting.version})", found, period, json=json)


@app.command("value")
def show_value(
    *,
    start: Start = "-7d",
    end: End = "now",
    workspace: Workspace = None,
    network: Network = None,
    json: JsonFlag = False,
) -> None:
    """Economic value: goal value per session, by network.

    Example: [bold]tally social value --from -7d[/]
    """
    from serving.social.answers import economic_value

    client, period = _asked(start, end, workspace, network, None, by_quarters=True)
    _show("Economic value, minor units", economic_value(client, period), period, json=json)


def _group(by: str) -> str:
    from serving.errors import UnknownNameError

    if by not in GROUPS:
        raise UnknownNameError("group of posts", by, GROUPS)
    return by


def _asked(
    start: str,
    end: str,
    workspace: str | None,
    network: str | None,
    accounts: list[str] | None,
    *,
    by_quarters: bool = False,
) -> tuple[Client, Period]:
    from resources.clickhouse import open_clickhouse
    from serving.social.answers import Period as Asked

    first, last = parse_range(start, end)
    if by_quarters:  # what is asked of facts, not of events
        first, last = to_quarters(first, last)
    client = open_clickhouse(load_settings().clickhouse_url)
    return client, Asked(first, last, workspace, network, accounts or ())


def _show(title: str, found: pl.DataFrame, period: Period, *, json: bool, by: str = "") -> None:
    if json:
        print_json({"from": period.start, "to": period.end, "by": by or None, "rows": found.to_dicts()})
        return
    unknown = [name for name in found.columns if found.height and found[name].is_null().all()]
    found = found.drop(unknown)
    rows = [[_cell(value) for value in row] for row in found.iter_rows()]
    numeric = [name for name, kind in found.schema.items() if kind.is_numeric()]
    console = out()
    console.print(fitting(title, found.columns, rows, right=numeric))
    if found.is_empty():
        console.print("No posts or readings in this range.")
    if unknown:
        console.print(f"Not known for any row, so not shown: {', '.join(unknown)}.", markup=False)
    console.print(f"Range [{iso(period.start)}, {iso(period.end)}).", markup=False)


def _cell(value: object) -> str:
    from datetime import datetime

    if isinstance(value, datetime):
        return iso(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else number(value)

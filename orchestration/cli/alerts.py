"""`alerts`: incidents, rules, a rehearsal of rules over the past, silences.

Belongs here: arguments and tables. Does not belong here: evaluating and delivering (`orchestration.alerts`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError
from orchestration.cli.output import JsonFlag, bad, good, out, print_json, table, warn
from orchestration.cli.times import ago, counted, iso, number, parse_duration, parse_time

alerts_app = typer.Typer(help="Incidents that rules found, and the rules themselves.", no_args_is_help=True)

RulesOption = Annotated[Path | None, typer.Option("--rules", help="File or folder (default: TALLY_ALERT_RULES).")]


def register(app: typer.Typer) -> None:
    alerts_app.command("list")(show_incidents)
    alerts_app.command("rules")(show_rules)
    alerts_app.command("check")(check)
    alerts_app.command("silence")(silence)
    app.add_typer(alerts_app, name="alerts", rich_help_panel="Numbers")


def _existing(path: Path | None) -> Path | None:
    """A path that somebody named must be there; the setting's need not. Raises CliError."""
    if path is not None and not path.exists():
        raise CliError(f"--rules {path}: there is no such file or folder")
    return path


def show_incidents(
    only_open: Annotated[bool, typer.Option("--open", help="Only those that go on.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    json: JsonFlag = False,
) -> None:
    """List incidents, the newest first, and to whom they were told.

    Example: [bold]tally alerts list --open[/]
    """
    from orchestration.alerts.store import AlertStore
    from orchestration.stack.paths import StackPaths

    store = AlertStore(StackPaths(load_settings().home).alerts)
    found = store.incidents(only_open=only_open, limit=limit)
    messages = {each.id: store.messages(each.id) for each in found}
    if json:
        print_json([{"incident": each, "messages": messages[each.id]} for each in found])
        return
    if not found:
        out().print("No incident is open." if only_open else "No rule has found anything yet.")
        return
    rows = []
    for each in found:
        told = ", ".join(f"{m.channel} {m.status}" for m in messages[each.id])
        told = told or ("silenced" if each.silenced else "nobody")
        failed = any(m.error for m in messages[each.id])
        state = bad("open") if each.closed is None else good("closed")
        rows.append(
            (each.id, state, iso(each.opened), each.rule, each.member, each.text, warn(told) if failed else told)
        )
    out().print(table("Incidents", ("id", "state", "since", "rule", "group", "what", "told"), rows))
    for each in found:
        for message in messages[each.id]:
            if message.error:
                out().print(f"  {each.id} → {message.channel}: {message.error}", markup=False)


def show_rules(rules: RulesOption = None, json: JsonFlag = False) -> None:
    """List the rules and where they stand.

    Example: [bold]tally alerts rules[/]
    """
    from contracts.alerts.model import load_rules
    from orchestration.alerts.store import AlertStore
    from orchestration.stack.paths import StackPaths

    settings = load_settings()
    path = _existing(rules) or Path(settings.alert_rules)
    found = load_rules(path)
    now = datetime.now(UTC)
    silenced = AlertStore(StackPaths(settings.home).alerts).silences(now)
    if json:
        print_json([{**rule.model_dump(mode="json"), "silenced_until": silenced.get(rule.id)} for rule in found.rules])
        return
    if not found.rules:
        out().print(
            f"No rules in {path}. Examples: contracts/alerts/examples/alerts.yaml; docs/alerts.md tells the keys.",
            markup=False,
        )
        return
    rows = [
        (
            f"{rule.id} v{rule.version}", rule.when.kind, rule.metric, ", ".join(rule.by), rule.grain,
            ", ".join(rule.channels), f"until {iso(silenced[rule.id])}" if rule.id in silenced else "",
            rule.description,
        )
        for rule in found.rules
    ]  # fmt: skip
    columns = ("rule", "kind", "metric", "by", "grain", "channels", "silenced", "description")
    out().print(table(f"Rules of {path}", columns, rows))


def check(
    rules: RulesOption = None,
    start: Annotated[str, typer.Option("--from", help="Rehearse from here on.")] = "-7d",
    json: JsonFlag = False,
) -> None:
    """Check the rule files, and rehearse them: what would have been told since --from? Tells and remembers nothing.

    Example: [bold]tally alerts check --rules contracts/alerts/examples --from -30d[/]
    """
    from contracts.alerts.model import load_rules
    from orchestration.alerts.evaluate import rehearse
    from resources.clickhouse import open_clickhouse

    settings = load_settings()
    now = datetime.now(UTC)
    found = load_rules(_existing(rules) or Path(settings.alert_rules))
    client = open_clickhouse(settings.clickhouse_url)
    begin = parse_time(start, now=now)
    told = {rule.id: rehearse(client, rule, begin, now) for rule in found.rules}
    client.close()
    if json:
        print_json({name: [{"group": group, **v._asdict()} for group, v in each] for name, each in told.items()})
        return
    for rule in found.rules:
        incidents = told[rule.id]
        out().print(f"{rule.id}: {counted(len(incidents), 'incident')} since {iso(begin)}", markup=False)
        for group, verdict in incidents[:10]:
            out().print(f"  {iso(verdict.bucket)} {group} {verdict.text}", markup=False)
        if len(incidents) > 10:
            out().print(f"  … and {number(len(incidents) - 10)} more")
    out().print(good(f"{counted(len(found.rules), 'rule')} checked."))


def silence(
    rule: Annotated[str, typer.Argument(help="Id of a rule; `tally alerts rules` lists them.")],
    length: Annotated[str, typer.Option("--for", help="How long: 90m, 6h, 2d; 0m ends a silence.")] = "6h",
    json: JsonFlag = False,
) -> None:
    """Tell nobody about incidents of this rule that open in the next hours. They are listed all the same.

    Example: [bold]tally alerts silence nothing-comes-in --for 2h[/]
    """
    from contracts.alerts.model import load_rules
    from orchestration.alerts.store import AlertStore
    from orchestration.stack.paths import StackPaths

    settings = load_settings()
    known = [each.id for each in load_rules(Path(settings.alert_rules)).rules]
    if rule not in known:
        raise CliError(f"there is no rule {rule!r}", hint=f"rules: {', '.join(known) or 'none'}")
    now = datetime.now(UTC)
    until = now if length == "0m" else now + parse_duration(length)
    AlertStore(StackPaths(settings.home).alerts).silence(rule, until)
    if json:
        print_json({"rule": rule, "until": until})
    else:
        out().print(f"{rule} is silent until {iso(until)} ({ago(until, now)}).", markup=False)

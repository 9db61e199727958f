"""`receipt` and `event`: what became of one request's rows, and of one event.

Belongs here: arguments, asking the collector, tables. Does not belong here: finding an event (`serving.trace`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.ingest import default_workspace
from orchestration.cli.output import JsonFlag, out, print_json, table, warn
from orchestration.cli.times import iso, number

if TYPE_CHECKING:
    from orchestration.settings import Settings
    from serving.trace import EventTrace

SHOWN_VERDICTS = 20
Workspace = Annotated[str | None, typer.Option(help="Workspace (default: that of the first write key).")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Proof")(receipt)
    app.command(rich_help_panel="Proof")(event)


def receipt(
    receipt_id: Annotated[str, typer.Argument(metavar="ID", help="As the collector or `tally ingest` gave it.")],
    *,
    workspace: Workspace = None,
    json: JsonFlag = False,
) -> None:
    """Ask the collector what became of the rows of one request or file load: verdict and log position of each.

    Example: [bold]tally receipt 019aa8d2-6f3b-7c41-9a53-0c4f2f6f2a10[/]
    """
    settings = load_settings()
    answer = ask_receipt(settings, receipt_id, workspace or default_workspace(settings))
    if json:
        print_json(answer)
        return
    names = ("stored", "duplicate", "quarantined", "on_the_way")
    rows = [(name.replace("_", " "), number(answer[name])) for name in names]
    rows += [(f"  {reason}", number(count)) for reason, count in answer["reasons"].items()]
    console = out()
    console.print(table(f"Receipt {answer['receipt_id']}", ("", "events or refused rows"), rows))
    verdicts = answer["verdicts"][:SHOWN_VERDICTS]
    columns = ("event_id", "status", "position", "reason", "place")
    cells = [[entry.get(name) or "-" for name in columns] for entry in verdicts]
    console.print(table("Verdicts", columns, cells))
    left = len(answer["verdicts"]) - len(verdicts) + answer["verdicts_left_out"]
    if left:
        console.print(f"{number(left)} more verdicts; --json has the first 1,000")
    if not answer["settled"]:
        console.print(warn("not settled: rows are on their way" if answer["settled"] is False else "backlog too long"))


def ask_receipt(settings: Settings, receipt_id: str, workspace: str) -> dict[str, Any]:
    """Return the collector's answer. Raises CliError for a workspace without a key, and for what it refuses."""
    from urllib.parse import quote

    import httpx

    pairs = (pair.partition("=") for pair in settings.write_keys.get_secret_value().split(","))
    keys = {name.strip(): key.strip() for name, _, key in pairs}
    if workspace not in keys:
        raise CliError(f"TALLY_WRITE_KEYS has no key of workspace {workspace!r}", hint=f"there are {', '.join(keys)}")
    base = f"http://{settings.collector_host}:{settings.collector_port}"
    headers = {"Authorization": f"Bearer {keys[workspace]}"}
    try:
        response = httpx.get(f"{base}/v1/receipts/{quote(receipt_id, safe='')}", headers=headers, timeout=30)
    except httpx.TransportError as error:
        hint = "`tally status` shows what runs, `tally up` starts it"
        raise CliError(f"{base} does not answer: {error}", hint=hint, code=ExitCode.UNAVAILABLE) from error
    if response.status_code == 404:
        raise CliError(f"nothing is known of receipt {receipt_id!r} in workspace {workspace!r}", code=ExitCode.PROBLEM)
    if response.is_error:
        raise CliError(f"{base}: {response.status_code} {response.text[:500]}", code=ExitCode.UNAVAILABLE)
    answer: dict[str, Any] = response.json()
    return answer


def event(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The event's id, a UUID.")],
    *,
    workspace: Workspace = None,
    json: JsonFlag = False,
) -> None:
    """Say what became of one event: receipt, log position, raw store, ClickHouse, duplicates, archive, sealed builds.

    Exit code 1 when no store knows it.

    Example: [bold]tally event 0190a1b2-0000-7000-8000-000000000001[/]
    """
    from uuid import UUID

    from orchestration.stack.stores import event_log, raw_store
    from resources.clickhouse import open_clickhouse
    from serving.trace import trace

    try:
        canonical = str(UUID(event_id))
    except ValueError:
        raise CliError(f"{event_id!r} is not an event id; those are UUIDs") from None
    settings = load_settings()
    chosen = workspace or default_workspace(settings)
    with event_log(settings) as log, raw_store(settings) as store:
        found = trace(log, store, open_clickhouse(settings.clickhouse_url), chosen, canonical)
    if json:
        print_json(found)
    elif found.is_known:
        _show(found)
    if found.is_known:
        return
    if json:
        raise typer.Exit(ExitCode.PROBLEM)
    raise CliError(
        f"no store knows event {canonical} of workspace {chosen!r}",
        hint="a row on its way is seen within a second; a refused one is in `tally quarantine show`",
        code=ExitCode.PROBLEM,
    )


def _show(found: EventTrace) -> None:
    row = found.raw or (found.live[0] if found.live else {})
    duplicates = [f"{entry['verdict']} {entry['position']}, receipt {entry['receipt_id']}" for entry in found.verdicts]
    builds = [
        f"{entry['build']}, published {iso(entry['published_at'])} ({entry['published_for']})" for entry in found.builds
    ]
    cells: list[tuple[str, object]] = [
        (name, row[name]) for name in ("type", "network", "actor", "event_time", "received_at") if row.get(name)
    ]
    cells += [
        ("receipt", found.receipt_id or "-"),
        ("in the log", f"{found.position}, appended {iso(found.appended_at)}" if found.position else "-"),
        ("raw store", "stored" if found.raw else "not there"),
        ("ClickHouse", "\n".join(f"stored from {entry['position']}" for entry in found.live) or "not there"),
        ("further deliveries", "\n".join(duplicates) or "none"),
        ("archive", "\n".join(found.archive_parts) or "not archived yet"),
        ("sealed slices", "\n".join(builds) or "not sealed yet"),
    ]
    out().print(table(f"Event {found.workspace}/{found.event_id}", ("", ""), cells))

"""`up`, `down`, `status`, `migrate`, `dagster`, and the hidden `process` commands that the stack itself starts.

Belongs here: arguments and display. Does not belong here: starting and measuring (`orchestration.stack`).
"""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestration.cli.context import load_settings, provide_environment
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, bad, err, good, out, print_json, table, warn
from orchestration.cli.times import ago, duration, iso, number, size

if TYPE_CHECKING:
    from orchestration.settings import Settings
    from orchestration.stack.lifecycle import Listener, StackEvent
    from orchestration.stack.status import ProcessReport, StackStatus, TaskReport

process_app = typer.Typer(help="Run one process of the stack in the foreground.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Stack")(up)
    app.command(rich_help_panel="Stack")(down)
    app.command(rich_help_panel="Stack")(status)
    app.command(rich_help_panel="Stack")(migrate)
    app.command(rich_help_panel="Stack")(dagster)
    process_app.command()(collector)
    process_app.command()(worker)
    process_app.command()(publisher)
    process_app.command()(api)
    process_app.command()(auditor)
    app.add_typer(process_app, name="process", hidden=True)


def up(
    engines: Annotated[
        Literal["embedded", "servers"] | None,
        typer.Option(help="embedded: SQLite and folders; servers: Kafka, MongoDB's protocol, S3, PostgreSQL"),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Start the local stack: ClickHouse, Redis, collector, workers, Dagster. Harmless when it already runs.

    Example: [bold]tally up[/]

    Example: [bold]TALLY_HOME=data/servers tally up --engines servers[/]
    """
    from orchestration.stack.lifecycle import up as start
    from orchestration.stack.servers import choose_engines

    settings = choose_engines(load_settings(), engines, lambda text: err().print(f"  {text}", markup=False))
    provide_environment(settings)
    begun = time.monotonic()
    start(settings, progress())
    seconds = time.monotonic() - begun
    addresses = urls(settings)
    if json:
        print_json({"seconds": round(seconds, 1), "home": settings.home, "urls": addresses})
        return
    console = out()
    console.print(good(f"Tally is up after {duration(seconds)}."))
    for name, url in addresses.items():
        console.print(f"  {name:<12} {url}", markup=False)
    console.print("Next: [bold]tally status[/], [bold]tally ingest FILE --network NAME[/], [bold]tally --help[/]")


def down(json: JsonFlag = False) -> None:
    """Stop every process of the stack within 15 seconds; data stays.

    Example: [bold]tally down[/]
    """
    from orchestration.stack.lifecycle import down as stop

    settings = load_settings()
    begun = time.monotonic()
    count = stop(settings, progress())
    seconds = time.monotonic() - begun
    if json:
        print_json({"stopped": count, "seconds": round(seconds, 1)})
    elif count:
        out().print(
            f"Stopped {count} processes in {duration(seconds)}; the data stays in {settings.home}.", markup=False
        )
    else:
        out().print(f"Nothing was running in {settings.home}.", markup=False)


def status(json: JsonFlag = False) -> None:
    """Show processes and their memory, lag, last seal, quarantine. Exit code 1: something is not well; 3: down.

    Example: [bold]tally status --json | jq .lag[/]
    """
    from orchestration.stack.status import gather

    settings = load_settings()
    report = gather(settings)
    if json:
        print_json({**vars_of(report), "memory": report.memory, "urls": urls(settings)})
    else:
        show_status(report)
    if not report.running:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if report.problems:
        raise typer.Exit(ExitCode.PROBLEM)


def vars_of(report: StackStatus) -> dict[str, object]:
    import dataclasses

    return {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}


def show_status(report: StackStatus) -> None:
    console = out()
    if not report.running:
        console.print(f"No stack is running in {report.home}; `tally up` starts it.", markup=False)
        return
    rows = [_process_row(process) for process in report.processes]
    numbers = ("pid", "RSS", "memory", "CPU", "procs")
    console.print(table("Processes", ("process", "state", "uptime", *numbers), rows, right=numbers))
    console.print(f"Memory of the whole stack: {size(report.memory)} (shared pages counted once)")
    lag = [
        (lag.group, number(lag.messages), duration(lag.seconds) if lag.messages else "none", number(lag.processed))
        for lag in report.lag
    ]
    console.print(
        table("Lag", ("group", "messages", "behind", "processed"), lag, right=("messages", "behind", "processed"))
    )
    if report.seals:
        seals = [(seal.dataset, number(seal.buckets), iso(seal.bucket), ago(seal.sealed_at)) for seal in report.seals]
        console.print(table("Sealed", ("dataset", "buckets", "newest bucket", "sealed"), seals, right=("buckets",)))
    else:
        console.print("Sealed: nothing yet; `tally seal --from … --to …` does it now, Dagster after each hour.")
    console.print(
        f"Newest event {iso(report.live_until)} ({ago(report.live_until)}), watermark {iso(report.watermark)}"
    )
    if report.tasks:
        console.print(_tasks_line(report.tasks))
    console.print(_audit_line(report))
    if report.quarantine_open:
        console.print(warn(f"Quarantine: {number(report.quarantine_open)} rows open; `tally quarantine list`"))
    elif report.quarantine_open == 0:
        console.print("Quarantine: empty")
    for problem in report.problems:
        console.print(bad(f"! {problem}"))


def _tasks_line(tasks: Sequence[TaskReport]) -> str:
    told = [f"{task.name} {ago(task.last_success)} in {task.seconds:.2f} s" for task in tasks]
    return f"Publisher: {'; '.join(told)}"


def _audit_line(report: StackStatus) -> str:
    audit = report.audit
    if audit is None:
        return "Audit: has not begun"
    found = f"{number(audit.findings)} damaged rows" if audit.findings else "nothing damaged"
    share = f"{audit.covered / audit.positions:.0%}" if audit.positions else "nothing"
    if not audit.round_seconds:
        return (
            f"Audit: {found} so far; first round over all history, {share} of {number(audit.positions)} positions, "
            f"seen {ago(audit.at)}"
        )
    return (
        f"Audit: {found}; a round over all history takes {duration(audit.round_seconds)}, this one has {share} of "
        f"{number(audit.positions)} positions, seen {ago(audit.at)}"
    )


def _process_row(process: ProcessReport) -> tuple[object, ...]:
    used = process.usage
    state = good(process.state.lower()) if process.state == "RUNNING" else bad(process.state.lower())
    return (
        process.name,
        state,
        duration(process.uptime_seconds) if process.uptime_seconds is not None else "",
        process.pid or "",
        size(used.rss) if used and used.rss else "",
        size(used.pss) if used else "",
        f"{used.cpu:.0%}" if used and process.uptime_seconds is not None else "",
        used.children + 1 if used and process.uptime_seconds is not None else "",
    )


def migrate(json: JsonFlag = False) -> None:
    """Make missing tables, views and topics in the stores of the settings. Safe to repeat; `tally up` does it too.

    Example: [bold]TALLY_CLICKHOUSE_URL=http://ch.example:8123/tally tally migrate[/]
    """
    from orchestration.stack.stores import prepare_stores

    settings = load_settings()
    prepare_stores(settings)
    if json:
        print_json({"migrated": True})
    else:
        out().print("Tables, views and topics are in place.")


def dagster(
    json: JsonFlag = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Print the address of Dagster's UI, and open it.

    Example: [bold]tally dagster[/]
    """
    url = urls(load_settings())["Dagster"]
    if json:
        print_json({"url": url})
        return
    out().print(url, markup=False)
    if open_browser and out().is_terminal:
        webbrowser.open(url)


def collector() -> None:
    """Take events over HTTP and append them to the event log."""
    from orchestration.stack.processes import run_collector_process

    run_collector_process(load_settings())


def worker(group: Annotated[str, typer.Option(help="Consumer group: raw or live.")]) -> None:
    """Read the event log and write a store."""
    if group not in {"raw", "live"}:
        raise CliError(f"--group {group!r} is neither raw nor live")
    from orchestration.stack.processes import run_worker_process

    name: Literal["raw", "live"] = "raw" if group == "raw" else "live"
    run_worker_process(load_settings(), name)


def publisher() -> None:
    """Compute boards and other small answers every second, and publish them."""
    from orchestration.publisher import run_publisher_process

    run_publisher_process(load_settings())


def api() -> None:
    """Answer questions over HTTP."""
    from orchestration.api import run_api_process

    run_api_process(load_settings())


def auditor() -> None:
    """Compare all stores for ever, at low priority."""
    from orchestration.auditor import run_auditor_process

    run_auditor_process(load_settings())


def urls(settings: Settings) -> dict[str, str]:
    """Addresses for a person. Credentials of a store's URL are left out."""
    from orchestration.stack.doctor import without_credentials
    from orchestration.stack.servers import addresses

    return {
        "Dagster": f"http://127.0.0.1:{settings.dagster_port}",
        "Collector": f"http://{settings.collector_host}:{settings.collector_port}",
        "API": f"http://{settings.api_host}:{settings.api_port}",
        "ClickHouse": without_credentials(settings.clickhouse_url),
        **addresses(settings),
    }


def progress() -> Listener:
    """Return a listener that prints one line per finished step on stderr."""
    console = err()

    def listen(event: StackEvent) -> None:
        if event.kind in {"ready", "stopped"}:
            console.print(f"  {event.kind:<8} {event.name:<18} {event.seconds:5.1f} s", markup=False)
        elif event.kind == "note":
            console.print(f"  {event.name}: {event.detail}", markup=False, style="yellow")

    return listen

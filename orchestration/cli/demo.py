"""`demo`: the whole way of an event in two minutes, with every number proven at the end.

Belongs here: the order of the steps and what they show. Does not belong here: what a step does (`orchestration.demo`,
`orchestration.stack`, `orchestration.sealing`, `serving`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.demo_report import Shown, tell
from orchestration.cli.errors import CliError, ExitCode
from orchestration.cli.output import JsonFlag, err
from orchestration.cli.sealing import run_seal
from orchestration.cli.times import duration, number, utc

if TYPE_CHECKING:
    import polars as pl

    from orchestration.demo import LiveStream
    from orchestration.settings import Settings

SETTLE_SECONDS = 120.0
LIVE_SECONDS = 60.0
"""The stream begins with a whole window of ten seconds; a busy machine may take longer until its first rows show."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Stack")(demo)


def demo(
    *,
    data: Annotated[Path | None, typer.Option(help="Your own file in place of the simulated network.")] = None,
    network: Annotated[str | None, typer.Option(help="Its mapping: a name, or a .yaml file.")] = None,
    leave: Annotated[bool, typer.Option("--exit", help="End after the checks, for scripts.")] = False,
    json: JsonFlag = False,
) -> None:
    """Start a stack of its own, load two simulated days, seal, check, keep a live stream running, show the numbers.

    It stays up until Ctrl-C. Its folder is data/demo (or TALLY_HOME); ports that are taken are moved. Exit code 1: a
    check failed.

    Example: [bold]tally demo[/]

    Example: [bold]tally demo --data edits.json.gz --network wikipedia[/]
    """
    from contracts.mapping import load_mapping
    from orchestration.demo import demo_home, demo_settings, only_one
    from orchestration.stack.lifecycle import down

    if (data is None) != (network is None):
        raise CliError("give --data and --network together", hint="`tally mapping list` shows the networks")
    if data is not None and not data.exists():
        raise CliError(f"no such file: {data}")
    mapping = load_mapping(network) if network else None
    home = demo_home()
    # A supervisor that ends the demo (a CI job, `timeout`) must not leave the stack behind. A shell starts what runs in
    # its background with SIGINT ignored, and Dagster, after a run in this process, gives SIGTERM what SIGINT had.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.default_int_handler)
    with only_one(home):
        os.environ["TALLY_HOME"] = str(home)
        settings = demo_settings(home)
        os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
        live: LiveStream | None = None
        try:
            begun = time.monotonic()
            _start(settings)
            shown = _load_file(settings, data, mapping, quiet=json) if data and mapping else _load_history(settings)
            _seal(settings, shown)
            _check(settings, shown)
            _attribution(settings, shown)
            if data is None:
                live = _stream(settings, shown)
                _trends(settings, shown)
            tell(settings, shown, time.monotonic() - begun, stays=not leave, as_json=json)
            if not leave:
                _stay(live)
        except KeyboardInterrupt:
            err().print("\nending the demo")
        finally:
            if live:
                live.stop()
            with step("stop the stack") as done:
                done(f"{down(settings, lambda _event: None)} processes; the data stays in {home}")
    if shown.failed:
        raise typer.Exit(ExitCode.PROBLEM)


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Show a step while it runs and one line when it is done; call the yielded function with what came of it."""
    console, begun, outcome = err(), time.monotonic(), [""]
    if console.is_terminal:
        with console.status(f"{name} …"):
            yield outcome.append
    else:
        yield outcome.append
    console.print(f"  {time.monotonic() - begun:6.1f} s  {name:<22} {outcome[-1]}", markup=False)


def _start(settings: Settings) -> None:
    from orchestration.stack.lifecycle import StackEvent, up

    ready: list[str] = []

    def listen(event: StackEvent) -> None:
        if event.kind == "ready":
            ready.append(event.name)

    with step("start the stack") as done:
        up(settings, listen)
        done(f"{len(ready) - 1} processes in {settings.home}")


def _load_history(settings: Settings) -> Shown:
    from orchestration.demo import history_range, send_history

    start, end = history_range(datetime.now(UTC))
    with step("simulate two days") as done:
        truth = send_history(settings, start, end, lambda _rows: None)
        done(
            f"{number(truth.sent)} rows over HTTP, among them {number(truth.duplicates)} sent twice and "
            f"{number(sum(truth.broken.values()))} broken"
        )
    _settle(settings)
    # Late rows of the first hours occurred before the range.
    shown = Shown(start - timedelta(hours=3), end, ["sim"], truth=truth)
    with step("compare with the truth") as done:
        expected = truth.events.select("event_id")
        found = expected.join(_event_ids(settings, shown), on="event_id", how="semi").height
        verdict = shown.check("ground truth", ok=found == expected.height)
        done(f"{number(found)} of {number(expected.height)} simulated events are queryable {verdict}")
    return shown


def _load_file(settings: Settings, data: Path, mapping: object, *, quiet: bool) -> Shown:
    from contracts.mapping import Mapping
    from orchestration.cli.ingest import default_workspace, load_files, show_report
    from resources.clickhouse import open_clickhouse

    if not isinstance(mapping, Mapping):
        raise TypeError(type(mapping).__name__)
    with step(f"load {data.name}") as done:
        report = load_files(settings, [data], mapping, default_workspace(settings))
        done(f"{number(report.read)} rows, queryable after {duration(report.queryable_seconds or 0)}")
    if not quiet:
        show_report(report)
    if report.fault:
        raise CliError(report.fault)
    client = open_clickhouse(settings.clickhouse_url)
    rows = client.query(
        "SELECT network, min(event_time), max(event_time) FROM events"
        " WHERE sdk LIKE {label:String} OR network = {name:String} GROUP BY network ORDER BY count() DESC",
        parameters={"label": f"{mapping.label}%", "name": mapping.name},
    ).result_rows
    if not rows:
        raise CliError(f"{data}: no row of it became an event", code=ExitCode.PROBLEM)
    last = utc(max(row[2] for row in rows))
    end = last.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    start = utc(min(row[1] for row in rows)).replace(minute=0, second=0, microsecond=0)
    shown = Shown(start, end, [row[0] for row in rows])
    shown.check("account of the load", ok=report.balanced)
    return shown


def _settle(settings: Settings) -> None:
    """Wait until both groups have stored everything that is in the log now."""
    from contracts.event_types import TOPICS
    from orchestration.stack.stores import event_log
    from resources.event_log.base import OffsetRange
    from streaming.sources.files import wait_until_processed
    from streaming.topics import GROUPS

    with step("store") as done, event_log(settings) as log:
        marks = [(topic, log.watermarks(topic)) for topic in TOPICS]
        ranges = [OffsetRange(t, p, low, high) for t, places in marks for p, (low, high) in places.items()]
        if not wait_until_processed(log, GROUPS, ranges, SETTLE_SECONDS):
            raise CliError(
                "the workers are not done after two minutes", hint="`tally status`", code=ExitCode.UNAVAILABLE
            )
        done(f"{number(sum(place.end for place in ranges))} messages in the raw store and in ClickHouse")


def _event_ids(settings: Settings, shown: Shown) -> pl.DataFrame:
    from resources.clickhouse import open_clickhouse, query_frame

    sql = (
        "SELECT toString(event_id) AS event_id FROM events WHERE network IN {networks:Array(String)}"
        " AND event_time >= {start:DateTime64(3)} AND event_time < {end:DateTime64(3)}"
    )
    parameters = {"networks": shown.networks, "start": shown.start, "end": shown.end}
    return query_frame(open_clickhouse(settings.clickhouse_url), sql, parameters)


def _seal(settings: Settings, shown: Shown) -> None:
    with step("seal") as done:
        outcome = run_seal(settings, (shown.start, shown.end), shown.networks, "demo", lambda _text: None)
        hours, days = (outcome.buckets.get(f"engagement_{length}", 0) for length in ("hourly", "daily"))
        shown.check("seal", ok=not outcome.reasons)
        built = f"{number(hours)} hours and {number(days)} days recomputed from the archive"
        done("; ".join(outcome.reasons) or (built if hours else "nothing new since the last time"))


def _check(settings: Settings, shown: Shown) -> None:
    from orchestration.cli.proof import read_ledger, read_verdicts

    with step("check the account") as done:
        ledger = read_ledger(settings)
        balanced = bool(ledger["balanced"].all())
        verdict = "balanced" if balanced else shown.check("ledger", ok=False)
        sums = {
            name: int(ledger.filter(group="raw")[name].sum())
            for name in ("taken", "stored", "duplicate", "quarantined")
        }
        done(
            f"{number(sums['taken'])} = {number(sums['stored'])} stored + {number(sums['duplicate'])} duplicate + "
            f"{number(sums['quarantined'])} quarantined: {verdict}"
        )
    with step("check live = sealed") as done:
        found = read_verdicts(settings, shown.start.isoformat(), shown.end.isoformat(), shown.networks)
        ok = found.ok and not found.hours.is_empty()
        shown.check("live = sealed", ok=ok)
        told = ", ".join(f"{number(count)} {name}" for name, count in found.counts.items())
        done(f"{told or 'no sealed hour'}: {'live = sealed' if ok else 'FAILED'}")


def _attribution(settings: Settings, shown: Shown) -> None:
    from orchestration.cli.demo_attribution import compare_with_truth

    if shown.truth is None:
        return
    with step("check attribution") as done:
        ok, told = compare_with_truth(settings, shown.truth, shown.start, shown.end)
        shown.proofs.append(told)
        done(f"{told} {shown.check('attribution', ok=ok)}")


def _stream(settings: Settings, shown: Shown) -> LiveStream:
    from orchestration.demo import LIVE_RATE, LiveStream

    with step("live stream") as done:
        before = _newest(settings)
        live = LiveStream(settings)
        live.start()
        deadline = time.monotonic() + LIVE_SECONDS
        while (newest := _newest(settings)) == before and not live.failure and time.monotonic() < deadline:
            time.sleep(0.5)
        ok = newest is not None and newest != before
        verdict = shown.check("live stream", ok=ok)
        if newest and ok:
            behind = (datetime.now(UTC) - newest).total_seconds()
            done(f"about {LIVE_RATE:.0f} events a second; the newest in ClickHouse is {duration(behind)} old {verdict}")
        else:
            done(f"{live.failure or 'nothing arrives'} {verdict}")
    return live


def _trends(settings: Settings, shown: Shown) -> None:
    """Plant a crowd and a bot, and wait until the board has the crowd first and the bot dampened."""
    from contracts.trend_boards import BoardId
    from orchestration.demo import PLANTED_SPAM, PLANTED_TREND, plant_trends
    from resources.cache import open_cache
    from resources.clickhouse import open_clickhouse
    from serving.trends import read_board

    workspace = settings.write_keys.get_secret_value().split("=")[0].strip()
    place = BoardId(workspace, "sim", "5m", "hashtag")
    spam = PLANTED_SPAM.replace("_", "")
    with step("trending topics") as done:
        client, cache = open_clickhouse(settings.clickhouse_url), open_cache(settings.cache_url)
        began = time.monotonic()
        plant_trends(settings, datetime.now(UTC))
        board: dict[str, dict[str, object]] = {}
        while not {PLANTED_TREND, spam} <= board.keys() and time.monotonic() < began + LIVE_SECONDS:
            time.sleep(0.1)
            entries = read_board(client, cache, place).entries
            board = {entry["topic"]: entry for entry in entries.iter_rows(named=True)}
        seconds = time.monotonic() - began
        cache.close()
        crowd, bot = board.get(PLANTED_TREND, {}), board.get(spam, {})
        ok = bool(crowd and bot) and not crowd["dampening"] and bot["dampening"] == "one_actor"
        ok = ok and int(str(crowd["rank"])) < int(str(bot["rank"]))
        verdict = shown.check("trending topics", ok=ok)
        if crowd and bot:
            done(
                f"#{PLANTED_TREND} by 40 people is on the board after {duration(seconds)}; #{PLANTED_SPAM}, 300 times "
                f"by a bot, counts as {bot['effective_actors']:.1f} people {verdict}"
            )
        else:
            done(f"the planted topics are not on the board {verdict}")


def _newest(settings: Settings) -> datetime | None:
    from resources.clickhouse import open_clickhouse

    row = open_clickhouse(settings.clickhouse_url).query("SELECT max(received_at), count() FROM events").result_rows[0]
    return utc(row[0]) if row[1] else None


def _stay(live: LiveStream | None) -> None:
    console = err()
    console.print("\nThe stack stays up; Ctrl-C ends it.")
    while True:
        time.sleep(30)
        if live and live.failure:
            console.print(f"the live stream ended: {live.failure}", markup=False, style="yellow")
            live = None
        elif live:
            console.print(f"  live: {number(live.sent)} rows sent, {live.rate:.0f} a second", markup=False)

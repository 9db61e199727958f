"""What the demo shows at its end: numbers, account, verdicts, addresses, and what to try next.

Belongs here: the final page. Does not belong here: the steps before it (`demo`).
"""

from __future__ import annotations

import os
import shlex
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.cli.demo_api import api_commands
from orchestration.cli.output import bad, good, out, print_json, table
from orchestration.cli.stack import urls
from orchestration.cli.times import duration, iso, number, size

if TYPE_CHECKING:
    from orchestration.settings import Settings
    from streaming.simulator import Truth

SHOWN_METRICS = (
    *("events", "active_actors", "posts", "engagements"),
    *("conversation_rate", "ad_clicks", "click_through_rate"),
)


@dataclass(slots=True)
class Shown:
    """What the steps found out: the range of the events, the networks, and the checks that failed.

    `truth`: of the simulation, where there was one. `proofs`: lines for the last page.
    """

    start: datetime
    end: datetime
    networks: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    truth: Truth | None = None
    proofs: list[str] = field(default_factory=list)

    def check(self, name: str, *, ok: bool) -> str:
        if not ok:
            self.failed.append(name)
        return "" if ok else "FAILED"


def tell(settings: Settings, shown: Shown, seconds: float, *, stays: bool, as_json: bool) -> None:
    """Print the page, or its facts as one JSON document. `stays`: whether the stack goes on running after it."""
    from orchestration.cli.proof import read_ledger, show_ledger
    from orchestration.stack.status import gather

    if as_json:
        print_json(
            {
                "seconds": round(seconds, 1),
                "home": settings.home,
                "from": shown.start,
                "to": shown.end,
                "networks": shown.networks,
                "failed_checks": shown.failed,
                "memory": gather(settings).memory,
                "urls": urls(settings),
            }
        )
        return
    console = out()
    _show_numbers(settings, shown)
    show_ledger(read_ledger(settings))
    console.print(good("live = sealed") if "live = sealed" not in shown.failed else bad("LIVE DIFFERS FROM SEALED"))
    for line in shown.proofs:
        console.print(line, markup=False)
    status = gather(settings)
    console.print(f"Memory of the whole stack: {size(status.memory)} in {len(status.processes)} processes.")
    for name, url in urls(settings).items():
        console.print(f"  {name:<12} {url}", markup=False)
    failed = ", ".join(shown.failed)
    verdict = bad(f"failed: {failed}") if failed else good("every check passed")
    console.print(f"Demo ready after {duration(seconds)}; ", verdict, sep="")
    console.print(
        "\nTry next, in another terminal:" if stays else "\nThe stack stops now; its data stays. To look around:"
    )
    first, *others = _next_commands(settings, shown)
    for line in (first, *([] if stays else ["tally up"]), *others):
        console.print(f"  {line}", markup=False)


def _show_numbers(settings: Settings, shown: Shown) -> None:
    """One table of metrics by network and day, one of the busiest topics or objects."""
    from contracts.metric_catalogue import catalogue
    from orchestration.cli.query import show_answer
    from resources.clickhouse import open_clickhouse
    from serving.query import MetricQuery, answer

    client = open_clickhouse(settings.clickhouse_url)
    filters = {"network": shown.networks}
    columns: dict[tuple[str, str], dict[str, str]] = {}
    for metric in SHOWN_METRICS:
        question = MetricQuery(metric, ("network",), shown.start, shown.end, "day", filters=filters)
        for row in answer(client, question).frame.iter_rows(named=True):
            key = (row["bucket"].strftime("%Y-%m-%d"), row["network"])
            cells = columns.setdefault(key, {"": "" if row["complete"] else "partial"})
            cells[metric] = number(row["value"])
    rows = [[*key, *(cells.get(name, "-") for name in (*SHOWN_METRICS, ""))] for key, cells in sorted(columns.items())]
    out().print(
        table(
            "Metrics by day (UTC) and network; partial: cut by the range, or still filling",
            ("day", "network", *SHOWN_METRICS, ""),
            rows,
            right=SHOWN_METRICS,
        )
    )
    ratios = [catalogue()[name] for name in SHOWN_METRICS if catalogue()[name].additivity == "ratio"]
    out().print(f"Units: {'; '.join(f'{metric.id}: {metric.unit}' for metric in ratios)}.", markup=False)
    for dimension in ("topic", "object"):
        question = MetricQuery(
            "engagements" if dimension == "topic" else "events",
            (dimension,), shown.start, shown.end, "total", filters=filters, limit=8, order="-value",
        )  # fmt: skip
        top = answer(client, question)
        if top.frame.height:
            show_answer(top)
            return


def _next_commands(settings: Settings, shown: Shown) -> list[str]:
    home = os.path.relpath(settings.home) if settings.home.is_relative_to(Path.cwd()) else str(settings.home)
    network = shown.networks[0]
    key = settings.write_keys.get_secret_value().split(",")[0].partition("=")[2]
    now = iso(datetime.now(UTC)).replace(" ", "T")
    event = f'{{"event_id":"{uuid.uuid4()}","type":"post.created","actor":"me","occurred_at":"{now}"}}'
    since = iso(shown.end - timedelta(hours=6))[:13].replace(" ", "T")
    return [
        f"export TALLY_HOME={shlex.quote(home)} PATH=$PWD/.venv/bin:$PATH",
        "tally status",
        f"tally query active_actors --by network --grain hour --from {since}",
        f"tally query events --by type --grain total --where network={network} --order -value",
        f"tally query events --grain day --tz Asia/Kolkata --where network={network}",
        'tally sql "SELECT type, count() FROM events GROUP BY type ORDER BY 2 DESC"',
        "tally attribution --compare --from -2d && tally social rates --from -2d",
        'tally sql --engine duckdb "SELECT network, count(*) FROM raw GROUP BY ALL"',
        "tally trends --watch",
        "tally query engaged_sessions --by device --grain day && tally sessions --limit 5",
        f"tally explain engaged_sessions --at {since}",
        "tally ledger && tally verify && tally quarantine list",
        f"curl -H 'Authorization: Bearer {key}' -H 'Content-Type: application/x-ndjson' -d {shlex.quote(event)} "
        f"http://{settings.collector_host}:{settings.collector_port}/v1/events",
        *api_commands(settings, shown.start, shown.end),
    ]

"""The demo's proof of attribution: what the tables credit to campaigns is what the simulator says they earned.

Belongs here: waiting for it, comparing, and what the last page says of it. Does not belong here: the truth
(`streaming.simulator`), the answer (`serving.attribution`).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.settings import Settings
    from streaming.simulator import Truth

WAIT_SECONDS = 90.0
"""Hours of unsealed days are made live by the publisher, some seconds after their events."""


def compare_with_truth(settings: Settings, truth: Truth, start: datetime, end: datetime) -> tuple[bool, str]:
    """Whether every model credits every campaign with what it earned in `[start, end)`, and a line that says so.

    In a folder that holds ads of an earlier demo as well there is no one truth: said, and no failure.
    """
    import polars as pl

    from contracts.ads import MODELS
    from orchestration.cli.times import number
    from resources.clickhouse import open_clickhouse
    from serving.attribution import TOTAL, AttributionQuery, compare

    client = open_clickhouse(settings.clickhouse_url)
    sent = truth.events["type"].str.starts_with("ad.").sum()
    count = "SELECT count() FROM events WHERE network = 'sim' AND startsWith(type, 'ad.')"
    if client.query(count).result_rows[0][0] != sent:
        return True, "not compared: this folder holds ads of an earlier demo as well"
    expected = truth.earned()
    named = pl.col("member") != TOTAL
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = compare(client, AttributionQuery(start, end, network="sim"), None).frame
        told = {model: dict(found.filter(named).select("member", f"revenue_{model}").iter_rows()) for model in MODELS}
        wrong = [model for model in MODELS if told[model] != expected]
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(1.0)
    if wrong:
        return False, f"attribution differs from the simulator's truth by {', '.join(wrong)}"
    revenue, campaigns = sum(expected.values()), len([name for name in expected if name != "unattributed"])
    return True, (
        f"attribution = the simulator's truth: {len(MODELS)} models, {campaigns} campaigns, USD {revenue / 100:,.2f}, "
        f"of which {number(round(100 * expected.get('unattributed', 0) / max(1, revenue), 1))} % unattributed"
    )

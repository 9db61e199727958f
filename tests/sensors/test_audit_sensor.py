"""What the auditor has found turns the right check red, once; when it is gone the check is green again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from sensors.audit import CHECK_OF_STORE, evaluate
from serving.audit.findings import STORES, finding
from serving.audit.record import AuditProgress, record, write_progress


def told(result: dg.SensorResult) -> list[tuple[str, str, bool]]:
    events: list[Any] = list(result.asset_events or [])
    return [(event.asset_key.to_user_string(), event.check_name, event.passed) for event in events]


def test_every_store_of_the_audit_has_its_check() -> None:
    assert set(CHECK_OF_STORE) == set(STORES)


def test_a_finding_turns_its_check_red_and_green_again(clickhouse: Client) -> None:
    assert told(evaluate(clickhouse, None)) == []
    wrong = finding(
        "ClickHouse", "changed", "events", log_topic="content-events", log_partition=1, log_offset=7,
        workspace="demo", event_id="0190", columns="actor", expected="'ada'", found="'mallory'",
    )  # fmt: skip
    record(clickhouse, wrong, still_there=True)
    red = evaluate(clickhouse, None)
    assert told(red) == [("raw_events", "stores_agree", False)]
    (evaluation,) = red.asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert "content-events/1@7" in (evaluation.description or "")
    assert "actor is 'mallory', should be 'ada'" in (evaluation.description or "")
    assert told(evaluate(clickhouse, red.cursor)) == []
    record(clickhouse, wrong, still_there=False)
    green = evaluate(clickhouse, red.cursor)
    assert told(green) == [("raw_events", "stores_agree", True)]
    assert told(evaluate(clickhouse, green.cursor)) == []


def test_once_all_history_is_audited_every_check_has_a_result(clickhouse: Client) -> None:
    now = datetime.now(UTC)
    write_progress(clickhouse, AuditProgress(now, now, round_seconds=2.0, positions=300, covered=300, findings=0))
    first = evaluate(clickhouse, None)
    assert sorted(told(first)) == sorted((asset, check, True) for asset, check in CHECK_OF_STORE.values())
    assert told(evaluate(clickhouse, first.cursor)) == []

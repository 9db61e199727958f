"""Live sessions: cut again for whoever was active, equal to the loop and to sealed ones, whatever the order of rows."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from session_oracle import sessions_of
from session_people import FIRST_DAY, batches, looked_at, people, row

from analytics.sessions import IDENTITY, SESSION_SCHEMA
from contracts.envelope import EVENT_SCHEMA
from resources.clickhouse import Client, query_frame
from streaming.publisher import sessions
from streaming.publisher.sessions import LiveSessions, take_round

DAY = timedelta(days=1)


def live(client: Client) -> list[dict[str, Any]]:
    columns = ", ".join(f"toString({n}) AS {n}" if n.endswith("_id") else n for n in SESSION_SCHEMA)
    found = query_frame(client, f"SELECT {columns} FROM live_sessions FINAL WHERE gone = 0")
    found = found.select(pl.col(name).cast(dtype) for name, dtype in SESSION_SCHEMA.items())
    return found.sort(*IDENTITY, "started_at").to_dicts()


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_after_every_batch_live_sessions_equal_the_loop(platform: Any, clickhouse_url: str, seed: int) -> None:
    task, sent = LiveSessions(clickhouse_url), []
    for number, batch in enumerate(batches(seed, people(seed, count=150))):
        sent.append(platform.send(batch, at=FIRST_DAY + 4 * DAY + timedelta(minutes=number)))
        task.run(FIRST_DAY)
        assert live(platform.clickhouse) == sessions_of(looked_at(pl.concat(sent)))


def test_small_rounds_and_kills_between_them_make_the_same(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill after the sessions are written and before the position is: the round is taken again."""
    monkeypatch.setattr(sessions, "MOST_ROWS", 40)
    sent = platform.send(people(14, count=150), at=FIRST_DAY + 4 * DAY)
    chance = random.Random(14)

    def die(_name: str) -> None:
        if chance.random() < 0.5:
            raise InterruptedError("killed")

    monkeypatch.setattr(sessions, "crashpoint", die)
    for _ in range(200):
        try:
            if not take_round(platform.clickhouse):
                break
        except InterruptedError:
            continue
    assert live(platform.clickhouse) == sessions_of(looked_at(sent))


def test_a_row_stored_twice_counts_once(platform: Any) -> None:
    sent = platform.send(people(15, count=20), at=FIRST_DAY + 4 * DAY)
    platform.clickhouse.command("INSERT INTO session_events SELECT * FROM session_events")
    take_round(platform.clickhouse)
    assert live(platform.clickhouse) == sessions_of(looked_at(sent))


def test_a_late_event_that_joins_two_sessions_makes_the_later_one_go(platform: Any) -> None:
    chance = random.Random(16)

    def send(minute: int) -> None:
        at = FIRST_DAY + timedelta(hours=9, minutes=minute)
        event = row(chance, "ann", at, workspace="acme", network="app")
        platform.send(pl.DataFrame([event], schema=EVENT_SCHEMA), at=FIRST_DAY + 2 * DAY)
        take_round(platform.clickhouse)

    send(0)
    send(40)
    assert len(live(platform.clickhouse)) == 2
    send(20)
    found = live(platform.clickhouse)
    assert [session["events"] for session in found] == [3]
    gone = query_frame(platform.clickhouse, "SELECT count() AS n FROM live_sessions FINAL WHERE gone")
    assert gone["n"].item() == 1


def test_nobody_who_was_quiet_is_looked_at(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.send(people(17, count=150), at=FIRST_DAY + 4 * DAY)
    take_round(platform.clickhouse)
    asked: list[list[str]] = []
    ask = sessions._of_people

    def noted(client: Client, sql: str, who: pl.DataFrame, start: Any) -> pl.DataFrame:
        asked.append(who["actor"].to_list())
        return ask(client, sql, who, start)

    monkeypatch.setattr(sessions, "_of_people", noted)
    event = row(random.Random(17), "ann", FIRST_DAY + 3 * DAY, workspace="acme", network="app")
    platform.send(pl.DataFrame([event], schema=EVENT_SCHEMA), at=FIRST_DAY + 5 * DAY)
    assert take_round(platform.clickhouse) == 1
    assert asked == [["ann"]], "her last session is enough to go on from"
    assert take_round(platform.clickhouse) == 0

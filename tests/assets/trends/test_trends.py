"""Sealed boards: computed from slices, equal to what was shown live, and asked like any other metric."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from orchestration.checks.trends import history_differences
from serving.query import MetricQuery, answer
from streaming.publisher.trends import TrendTask

SECOND = timedelta(seconds=1)


def test_the_sealed_day_is_what_the_boards_showed_live(
    platform: Any, make_events: Any, seal_all: Callable[..., Any], redis_server: Any
) -> None:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    noon, client = day + timedelta(hours=12), platform.clickhouse
    task = TrendTask(platform.clickhouse_url, redis_server.url)

    def posts(seed: int, start: datetime, seconds: float, actors: int, topic: str) -> pl.DataFrame:
        events = make_events(seed, actors, start, start + seconds * SECOND, ("app",))
        return events.with_columns(
            type=pl.lit("post.created"), workspace=pl.lit("acme"), object=pl.lit(""),
            actor=pl.Series([f"{topic}-{n}" for n in range(actors)]),
            topics=pl.lit([topic], dtype=pl.List(pl.String)),
        )  # fmt: skip

    platform.send(posts(1, noon - timedelta(hours=2), 7200, 120, "quiet"), at=noon)
    platform.send(posts(2, noon + 5 * SECOND, 30, 40, "crowd"), at=noon + 36 * SECOND)
    # Computed at the end of every hop, when all of it is there, as the recomputation does.
    for hop in range(1, 131):
        task.run(noon + (10 * hop - 0.001) * SECOND)
    platform.send(posts(3, day + timedelta(hours=25), 60, 3, "later"), at=day + timedelta(hours=25.5))

    def asked(metric: str, **question: Any) -> pl.DataFrame:
        given = {"start": noon, "end": noon + timedelta(minutes=15), "grain": "total", **question}
        return answer(client, MetricQuery(metric, **given)).frame

    live = {name: asked(name, by=("window",)).sort("window") for name in ("trend_seconds", "trend_entries")}
    by_topic = asked("trend_seconds", by=("topic",))
    assert by_topic["topic"].to_list() == ["hashtag/crowd"]
    assert live["trend_entries"]["value"].to_list() == [1, 1, 1]
    sealed = seal_all()
    assert not sealed.failed
    for name, before in live.items():
        after = asked(name, by=("window",)).sort("window")
        assert after.select("window", "value").equals(before.select("window", "value")), name
    published = client.query(
        "SELECT sum(value) FROM facts WHERE dataset = 'trends' AND dimension = 'topic' AND measure = 'trend_seconds'"
        " AND member = 'hashtag/crowd' AND bucket = {noon:DateTime('UTC')}",
        parameters={"noon": noon},
    ).result_rows
    assert published == [(by_topic["value"].item(),)]
    pairs = pl.DataFrame({"bucket": [day], "network": ["app"]})
    assert history_differences(client, pairs).is_empty()
    client.command("ALTER TABLE trend_history DELETE WHERE topic = 'crowd' SETTINGS mutations_sync = 1")
    assert history_differences(client, pairs)["member"].to_list() == ["hashtag/crowd"]

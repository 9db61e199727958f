"""Events to ask about, an independent answer in plain polars, and sealing without Dagster."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from jinja2 import Environment, FileSystemLoader

from contracts.envelope import STORED_SCHEMA
from contracts.event_types import TOPIC_OF_TYPE
from resources.clickhouse import insert_frame, open_clickhouse
from resources.clickhouse.migrate import migrate
from resources.clickhouse.sql import MACROS

TYPES = (
    "post.created",
    "comment.created",
    "share.created",
    "reaction.added",
    "content.viewed",
    "link.clicked",
    "user.followed",
)
TOPICS = ("ask", "news", "émoji", "it's")


def make_events(
    seed: int, count: int, start: datetime, end: datetime, networks: Iterable[str] = ("alpha", "beta")
) -> pl.DataFrame:
    """Rows of STORED_SCHEMA, received within a second, at ascending offsets of two partitions per topic."""
    chance = random.Random(seed)
    names = list(networks)
    span = (end - start) // timedelta(milliseconds=1)
    offsets: dict[tuple[str, int], int] = {}
    rows = []
    for moment in sorted(start + timedelta(milliseconds=chance.randrange(span)) for _ in range(count)):
        kind = chance.choice(TYPES)
        place = (TOPIC_OF_TYPE[kind], chance.randrange(2))
        offsets[place] = offsets.get(place, -1) + 1
        rows.append(
            {
                "workspace": chance.choice(("acme", "globex")),
                "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                "type": kind,
                "network": chance.choice(names),
                "actor": f"user-{chance.randrange(12)}",
                "object": chance.choice(("", "post-1", "post-2", "post-3")),
                "campaign": chance.choice(("", "", "spring")),
                "topics": chance.sample(TOPICS, chance.randrange(3)),
                "properties": "{}",
                "occurred_at": moment,
                "received_at": moment + timedelta(milliseconds=chance.randrange(1000)),
                "event_time": moment,
                "time_flag": "ok",
                "sdk": "test",
                "schema_version": 2,
                "receipt_id": "r1",
                "raw": "{}",
                "log_topic": place[0],
                "log_partition": place[1],
                "log_offset": offsets[place],
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=STORED_SCHEMA)


def insert_events(client: Client, events: pl.DataFrame) -> None:
    insert_frame(client, "events", events.drop("raw"))


_SLICE = (
    "workspace, event_id, type, network, actor, object, campaign, topics, properties, event_time, received_at, "
    "log_topic, log_partition, log_offset"
)
_BUILD = """
{% from 'engagement.sql' import engagement_rollup %}
{% set rows %}
(SELECT * FROM events
 WHERE (toStartOf{{ span }}(event_time), network) IN (SELECT toDateTime(b, 'UTC'), n FROM
    (SELECT arrayJoin({buckets:Array(Int64)}) AS b, arrayJoin({networks:Array(String)}) AS n)))
{% endset %}
INSERT INTO {{ dataset }}_builds SELECT toUUID({build:String}), *
FROM ({% if columns %}SELECT {{ columns }} FROM {{ rows }}{% else %}
{{ engagement_rollup(rows, 'toStartOf' ~ span ~ '(event_time)') }}{% endif %})
"""


def seal(
    client: Client, buckets: Iterable[datetime], networks: Iterable[str], at: datetime, daily: bool = False
) -> None:
    """Publish these hours (or days) of these networks as they stand in the live events, as the sealed path does."""
    datasets = ("engagement_daily",) if daily else ("connector_slices", "engagement_hourly")
    template = Environment(loader=FileSystemLoader(MACROS)).from_string(_BUILD)  # noqa: S701 - SQL, not HTML
    pairs, build = list(product(buckets, networks)), uuid.uuid4()
    parameters = {
        "buckets": [int(start.timestamp()) for start, _ in pairs],
        "networks": sorted({network for _, network in pairs}),
        "build": str(build),
    }
    seals = []
    for dataset in datasets:
        slices, span = dataset == "connector_slices", "Day" if daily else "Hour"
        columns = _SLICE if slices else ""
        client.command(template.render(dataset=dataset, span=span, columns=columns), parameters=parameters)
        held = client.query(
            f"SELECT {'toStartOfHour(event_time)' if slices else 'bucket'} AS at, network, "
            f"{'count()' if slices else 'sum(events)'} FROM {dataset}_builds WHERE build_id = {{build:String}} "
            f"{'' if slices else 'AND dimension = {all:String}'} GROUP BY at, network",
            parameters={**parameters, "all": "all"},
        ).result_rows
        counts = {(bucket.replace(tzinfo=UTC), network): count for bucket, network, count in held}
        for start, network in pairs:
            count = counts.get((start, network), 0)
            seals.append((dataset, start, network, build, count, count, 0, "test", "run", at))
    names = ["dataset", "bucket", "network", "build_id", "rows", "events", "checksum", "cause", "run_id", "sealed_at"]
    client.insert("seals", seals, column_names=names)


def bucket_of(moment: datetime, grain: str, tz: str, start: datetime) -> datetime:
    """The bucket's start by Python's own zone rules, as an instant in UTC."""
    zone = ZoneInfo(tz)
    local = moment.astimezone(zone)
    if grain == "total":
        return start
    if grain in ("minute", "hour"):
        offset = local.utcoffset()
        assert offset is not None
        size = timedelta(minutes=1) if grain == "minute" else timedelta(hours=1)
        wall = moment + offset - datetime(1970, 1, 1, tzinfo=UTC)
        return datetime(1970, 1, 1, tzinfo=UTC) + wall // size * size - offset
    day = local.date()
    if grain == "week":
        day -= timedelta(days=day.weekday())
    if grain == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


COUNTED = {
    "events": None,
    "posts": ["post.created"],
    "comments": ["comment.created"],
    "shares": ["share.created"],
    "reactions": ["reaction.added"],
    "engagements": ["comment.created", "share.created", "reaction.added"],
    "clicks": ["content.clicked", "link.clicked"],
}  # fmt: skip
RATIOS = {"conversation_rate": ("comments", "posts"), "amplification_rate": ("shares", "posts")}


def expected(
    events: pl.DataFrame, metric: str, *, by: tuple[str, ...], grain: str, tz: str, start: datetime, end: datetime
) -> dict[tuple[object, ...], float | None]:
    """Answer from the raw rows, without SQL: {(bucket, *group): value}."""
    rows = events.filter((pl.col("event_time") >= start) & (pl.col("event_time") < end))
    if "topic" in by:
        rows = rows.explode("topics", empty_as_null=False).rename({"topics": "topic"})
    for name in {"object", "campaign"} & set(by):
        rows = rows.filter(pl.col(name) != "")
    starts = [bucket_of(moment, grain, tz, start) for moment in rows["event_time"].to_list()]
    rows = rows.with_columns(pl.Series("bucket", starts, dtype=pl.Datetime("us", "UTC")))
    keys = ["bucket", *by]
    if metric == "active_actors":
        found = rows.group_by(keys).agg(value=pl.col("actor").n_unique())
    elif metric in RATIOS:
        top, bottom = (pl.col("type").is_in(COUNTED[name]).sum() for name in RATIOS[metric])
        found = (
            rows.group_by(keys)
            .agg(top=top, bottom=bottom)
            .with_columns(value=pl.when(pl.col("bottom") > 0).then(pl.col("top") / pl.col("bottom")))
        )
    else:
        types = COUNTED[metric]
        found = rows.group_by(keys).agg(value=pl.col("type").is_in(types).sum() if types else pl.len())
    return {row[:-1]: row[-1] for row in found.select(*keys, "value").iter_rows()}


@pytest.fixture(scope="module")
def store(clickhouse_server: str) -> Iterator[Client]:
    """A client in a fresh, migrated database that the tests of a module share."""
    name = f"serving_{uuid.uuid4().hex[:12]}"
    migrate(f"{clickhouse_server}/{name}")
    with open_clickhouse(f"{clickhouse_server}/{name}") as client:
        yield client
        client.command(f"DROP DATABASE {name}")


class Reference:
    """What the tests of this folder share: events, plain answers, and sealing."""

    counted = COUNTED
    ratios = RATIOS
    make_events = staticmethod(make_events)
    insert_events = staticmethod(insert_events)
    seal = staticmethod(seal)
    expected = staticmethod(expected)


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()

"""The types of the GraphQL schema; enums are generated from the catalogue.

Belongs here: names and descriptions of what can be asked for, and answers' documents as these types. Does not belong
here: resolvers (`graphql`), HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import strawberry
from strawberry.scalars import JSON

from contracts.metric_catalogue import catalogue
from contracts.trend_boards import KINDS
from serving.plan import dimensions_of
from serving.timeline import GRAINS

if TYPE_CHECKING:
    # What the enums below are to a type checker, which cannot know their members.
    class _Name(str):
        value: str

    class MetricId(_Name): ...

    class Grain(_Name): ...

    class Dimension(_Name): ...

    class BoardKind(_Name): ...

else:
    MetricId = strawberry.enum(
        Enum("MetricId", {name: name for name in catalogue()}), description="Metrics of the catalogue"
    )
    Grain = strawberry.enum(Enum("Grain", {name: name for name in GRAINS}), description="Length of a bucket")
    Dimension = strawberry.enum(
        Enum("Dimension", {name: name for metric in catalogue().values() for name in dimensions_of(metric)}),
        description="What metrics can be grouped and filtered by; each metric lists its own",
    )
    BoardKind = strawberry.enum(Enum("BoardKind", {name: name for name in KINDS}), description="What trends")


@strawberry.enum(description="Order of rows")
class Order(Enum):
    BY_BUCKET = "bucket"
    SMALLEST = "value"
    LARGEST = "-value"


@strawberry.enum(description="Window of a board: the shortest sees first, the longest lasts")
class BoardWindow(Enum):
    ONE_MINUTE = "1m"
    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"


@strawberry.input(description="Rows whose member of the dimension is one of these values")
class Where:
    dimension: Dimension
    values: list[str]


@strawberry.type(description="One metric of the catalogue")
class Metric:
    id: MetricId
    version: int
    title: str
    description: str
    formula: str
    unit: str
    additivity: str
    null_rule: str
    source: str
    dimensions: list[Dimension]


@strawberry.type
class Member:
    dimension: Dimension
    member: str


@strawberry.type(description="One bucket of one group")
class Row:
    bucket: str = strawberry.field(description="Start, inclusive, ISO 8601 in the zone asked for")
    bucket_end: str = strawberry.field(description="End, exclusive")
    group: list[Member]
    value: float | None
    numerator: float | None
    denominator: float | None
    networks: int | None
    mean_of_networks: float | None
    complete: bool = strawberry.field(description="false: the bucket can still grow, or the range cuts it")


@strawberry.type(description="A metric by buckets and groups, and how far it can be trusted")
class MetricAnswer:
    metric: MetricId
    grain: Grain
    tz: str
    start: str
    end: str
    as_of: str
    complete_through: str | None
    data_version: str
    version: float = strawberry.field(description="Only grows; the Tally-Version of REST")
    rows: list[Row]
    next_cursor: str | None


@strawberry.type(description="One number down to its formula, SQL, builds, log offsets, archive parts and restatements")
class Explanation:
    value: float | None
    complete: bool
    as_of: str
    definition: JSON
    sql: str
    asset: str
    counted_at_offsets: list[int] | None
    proven: bool | None
    seals: list[JSON]
    offsets: list[JSON]
    archive_parts: list[JSON]
    restatements: list[JSON]


@strawberry.type
class BoardEntry:
    rank: int
    topic: str
    label: str
    score: float
    log10_p: float
    distinct_actors: int
    effective_actors: float
    events: int
    dampening: str
    entered_at: str | None


@strawberry.type(description="A board of trending topics")
class Board:
    known: bool
    as_of: str | None
    hop: str | None
    version: float
    stale: bool
    entries: list[BoardEntry]


def metric_of(entry: Mapping[str, Any]) -> Metric:
    known = {name: entry[name] for name in Metric.__annotations__ if name not in {"id", "dimensions"}}
    return Metric(id=MetricId(entry["id"]), dimensions=[Dimension(name) for name in entry["dimensions"]], **known)


def answer_of(document: Mapping[str, Any], version: int, next_cursor: str) -> MetricAnswer:
    """The answer of a body of `MetricAnswer.body`."""
    by = document["by"]
    rows = [
        Row(
            bucket=row["bucket"],
            bucket_end=row["bucket_end"],
            group=[Member(dimension=Dimension(name), member=str(row[name])) for name in by],
            value=row["value"],
            numerator=row.get("numerator"),
            denominator=row.get("denominator"),
            networks=row.get("networks"),
            mean_of_networks=row.get("mean_of_networks"),
            complete=bool(row["complete"]),
        )
        for row in document["rows"]
    ]
    same = ("tz", "start", "end", "as_of", "complete_through", "data_version")
    return MetricAnswer(
        metric=MetricId(document["metric"]),
        grain=Grain(document["grain"]),
        version=float(version),
        rows=rows,
        next_cursor=next_cursor or None,
        **{name: document[name] for name in same},
    )


def explanation_of(document: Mapping[str, Any]) -> Explanation:
    row = document["rows"][0]
    named = {name: document[name] for name in Explanation.__annotations__ if name not in {"value", "complete"}}
    return Explanation(value=row["value"], complete=bool(row["complete"]), **named)


def board_of(document: Mapping[str, Any]) -> Board:
    entries = [
        BoardEntry(**{name: entry[name] for name in BoardEntry.__annotations__}) for entry in document["entries"]
    ]
    named = {name: document[name] for name in Board.__annotations__ if name != "entries"}
    return Board(entries=entries, **named)

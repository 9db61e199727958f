"""The shape of answers, as the OpenAPI schema tells it.

Belongs here: descriptions for readers of the schema. Does not belong here: making answers: they are sent as the bytes
that the query layer makes (`MetricAnswer.body`), not through these models.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class MetricRow(BaseModel):
    """One bucket of one group. Each dimension of `by` is a field of its own."""

    model_config = ConfigDict(extra="allow")

    bucket: datetime = Field(description="Start of the bucket, inclusive, in the zone asked for")
    bucket_end: datetime = Field(description="End, exclusive")
    value: float | None = Field(description="null by the metric's null rule")
    numerator: float | None = Field(None, description="Of ratios")
    denominator: float | None = Field(None, description="Of ratios")
    networks: int | None = Field(None, description="Of ratios over networks: those that have a ratio")
    mean_of_networks: float | None = Field(None, description="Mean of each network's own ratio")
    complete: bool = Field(description="false: the bucket can still grow, or the range cuts it")


class MetricDocument(BaseModel):
    metric: str
    by: list[str]
    grain: str
    tz: str
    start: datetime
    end: datetime
    as_of: datetime = Field(description="The newest change the answer rests on; ask again with it for the same values")
    complete_through: datetime | None = Field(description="End of the last complete bucket")
    data_version: str = Field(description="Changes whenever the data do")
    rows: list[MetricRow]


class Explained(MetricDocument):
    """One number and what it is made of."""

    definition: dict[str, Any]
    sql: str
    asset: str
    counted_at_offsets: list[int] | None = Field(description="What the rows at these log offsets add up to")
    proven: bool | None = Field(description="Whether they add up to the number; null where that proves nothing")
    seals: list[dict[str, Any]]
    offsets: list[dict[str, Any]]
    archive_parts: list[dict[str, Any]]
    restatements: list[dict[str, Any]]


class CatalogueEntry(BaseModel):
    id: str
    version: int
    title: str
    description: str
    formula: str
    unit: str
    additivity: str
    null_rule: str
    source: str
    measure: dict[str, Any]
    dimensions: list[str] = Field(description="What it can be grouped and filtered by")


class BoardEntry(BaseModel):
    model_config = ConfigDict(extra="allow")

    rank: int
    topic: str
    label: str
    score: float


class Board(BaseModel):
    window: str
    kind: str
    network: str
    known: bool = Field(description="false: no such board was published by then")
    as_of: datetime | None
    hop: datetime | None = Field(description="End of the board's windows")
    version: int
    stale: bool = Field(description="Nothing has renewed it for a minute")
    entries: list[BoardEntry]


class KeyDocument(BaseModel):
    id: str
    name: str
    role: str
    state: str
    created_at: datetime
    expires_at: datetime | None


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = None
    value: str | None = None

"""What of the store can matter to a question: asked once, so that the question itself reads little else.

Belongs here: which builds answer the range's sealed hours, and between which hours live rows are needed. Does not
belong here: the SQL (dbt_project/macros/metric_query.sql), the question (`serving.plan`).

Testing (bucket, network, build) row by row costs half of a question over 200,000 rows, and an analysed subquery 5 ms.
A build's id alone decides unless one of its hours was built again since; live hours are few and at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.clickhouse import Client
from resources.clickhouse.sql import render

_MOST_BUILDS = 400
"""Beyond this a list is slower than the subquery."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`builds`: ids whose rows in the range are all published; None where some are not, or they are too many.

    `live`: first and last hour that has live rows and no seal, seconds since 1970; None where there is none.
    """

    builds: tuple[str, ...] | None
    live: tuple[int, int] | None

    @property
    def parameters(self) -> Mapping[str, Any]:
        live: dict[str, Any] = {"live_from": self.live[0], "live_to": self.live[1]} if self.live else {}
        return live if self.builds is None else {"builds": list(self.builds), **live}


def read_scope(client: Client, parameters: Mapping[str, Any], column_filters: tuple[str, ...]) -> Scope:
    """Read the scope of an hourly question. `parameters` are the plan's: its range, and values of its filters."""
    sql = render("query_scope", column_filters=column_filters)
    seals: dict[tuple[int, str], list[tuple[datetime, str]]] = {}
    live: set[tuple[int, str]] = set()
    for hour, network, build, at in client.query(sql, parameters=dict(parameters)).result_rows:
        if build:
            seals.setdefault((hour, network), []).append((at, build))
        else:
            live.add((hour, network))
    newest = {build for each in seals.values() for _, build in [max(each)]}
    superseded = {build for each in seals.values() for _, build in sorted(each)[:-1]}
    usable = len(newest) <= _MOST_BUILDS and not newest & superseded
    unsealed = [hour for hour, _ in live - seals.keys()]
    return Scope(
        builds=tuple(sorted(newest)) if usable else None,
        live=(min(unsealed), max(unsealed)) if unsealed else None,
    )

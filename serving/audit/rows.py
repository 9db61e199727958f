"""Compare two frames of rows by key: missing, unexpected, doubled, changed.

Belongs here: the comparison in columns, with names of what differs. Does not belong here: where the rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from contracts.envelope import UTC_MS
from serving.audit.findings import POSITION, Store, build, join_all, none, values_text

minute_of_event = pl.col("event_time").dt.truncate("1m").cast(UTC_MS).alias("bucket")
"""The minute an event counts in: says which rollup rows were made from it."""

_ABOUT = (*POSITION, "workspace", "event_id", "bucket", "network")


def compare_rows(  # noqa: PLR0917 # a store's place, both sides, and what to compare
    store: Store,
    place: str,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    columns: Sequence[str],
    key: Sequence[str] = POSITION,
) -> pl.DataFrame:
    """Findings (FINDING_SCHEMA) about `found`; both frames have `key` and `columns` with equal dtypes, in any order.

    `expected` has each key once. A row found several times is `doubled` once per row too many, and the first of them is
    compared. Texts, numbers and lists are compared exactly.
    """
    if expected.height == found.height and _equal(expected, found, columns, key):
        return none()
    first = found.unique(key, keep="first", maintain_order=True)
    doubled = found.filter(pl.struct(key).is_first_distinct().not_())
    missing = expected.join(first, on=key, how="anti")
    unexpected = first.join(expected, on=key, how="anti")
    return join_all(
        [
            build(store, "doubled", place, doubled),
            build(store, "missing", place, missing),
            build(store, "unexpected", place, unexpected),
            _changed(store, place, expected, first, columns, key),
        ]
    )


def _equal(expected: pl.DataFrame, found: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> bool:
    """The usual case: sorted by key, the frames are the same."""
    names = [*key, *(name for name in columns if name not in key)]
    return expected.select(names).sort(key).equals(found.select(names).sort(key))


def _changed(  # noqa: PLR0917 # as above
    store: Store,
    place: str,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    columns: Sequence[str],
    key: Sequence[str],
) -> pl.DataFrame:
    compared = [name for name in columns if name not in key]
    about = [name for name in _ABOUT if name in expected.columns]
    names = list(dict.fromkeys([*about, *compared]))
    pairs = expected.select(*key, *(name for name in names if name not in key)).join(
        found.select(*key, *(pl.col(name).alias(f"{name}:found") for name in compared)), on=key, how="inner"
    )
    differs = {name: pl.col(name).ne_missing(pl.col(f"{name}:found")) for name in compared}
    wrong = pairs.filter(pl.any_horizontal(differs.values())) if differs else pairs.clear()
    if wrong.is_empty():
        return none()
    rows = []
    for row in wrong.to_dicts():
        names = [name for name in compared if row[name] != row[f"{name}:found"]]
        rows.append(
            {
                **{name: row[name] for name in about},
                "columns": ", ".join(names),
                "expected": values_text([row[name] for name in names]),
                "found": values_text([row[f"{name}:found"] for name in names]),
            }
        )
    schema = {name: wrong.schema[name] for name in about}
    text = dict.fromkeys(("columns", "expected", "found"), pl.String())
    return build(store, "changed", place, pl.DataFrame(rows, schema={**schema, **text}))

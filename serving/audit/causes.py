"""Which findings only follow from another one: one damaged row is one finding, however much was made from it.

Belongs here: attributing findings, counting and wording them by damaged row. Does not belong here: finding anything.

A finding follows from another when repairing that one repairs it: other rows of the same log position, the verdict of a
duplicate whose first row is gone, rows of a damaged archive part, and what was made from a damaged row further on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import polars as pl

from serving.audit.findings import FINDING_SCHEMA, POSITION, describe

_ROWS_FIRST = ("events", "quarantine", "connector_slices")
_DEPTH = 5
"""Archive, slices, hours, days: no chain of causes is longer."""

_STORE, _PLACE, _KIND = pl.col("store"), pl.col("place"), pl.col("kind")
_PLACED = (pl.col("log_topic") != "") & pl.col("log_offset").is_not_null()
_HOUR, _DAY = pl.col("bucket").dt.truncate("1h").alias("hour"), pl.col("bucket").dt.truncate("1d").alias("day")
_CALLED_DUPLICATE = _PLACE.is_in(["live_rejects", "duplicates"]) & (_KIND == "unexpected")
_LIVE, _EVENTS = _STORE == "live rollups", (_STORE == "ClickHouse") & (_PLACE == "events")
_PROGRESS = _PLACE.str.starts_with("live_progress ")
_PARTITION = (
    pl.when(_PROGRESS)
    .then(_PLACE.str.slice(len("live_progress ")))
    .otherwise(pl.concat_str("log_topic", pl.lit("/"), pl.col("log_partition").cast(pl.String)))
)
_MINUTES, _HOURS = _PLACE == "live_engagement_minute", _PLACE == "live_engagement_hour"


def with_causes(found: pl.DataFrame) -> pl.DataFrame:
    """The findings (FINDING_SCHEMA) and `follows_from`: the finding that each follows from, in words; '' for damage."""
    numbered, cause = _attributed(found.select(list(FINDING_SCHEMA)))
    labels = {number: _label(row) for number, row in zip(*_rows_at(numbered, set(cause.drop_nulls())), strict=True)}
    words = (
        cause.replace_strict(labels, default="", return_dtype=pl.String)
        if labels
        else pl.Series([""] * found.height, dtype=pl.String)
    )
    return numbered.drop("n").with_columns(words.alias("follows_from"))


def damaged(found: pl.DataFrame) -> pl.DataFrame:
    """The findings that follow from no other: one per damaged row."""
    numbered, cause = _attributed(found.select(list(FINDING_SCHEMA)))
    return numbered.filter(cause.is_null()).drop("n")


def named(found: pl.DataFrame, most: int = 5) -> list[str]:
    """The first damaged rows as lines, each with what follows from it, and how many more there are."""
    numbered, cause = _attributed(found.select(list(FINDING_SCHEMA)))
    roots = numbered.filter(cause.is_null())
    shown = roots.head(most)
    following = (
        numbered.with_columns(cause.alias("cause"))
        .filter(pl.col("cause").is_in(shown["n"].implode()))
        .group_by("cause", "store", "place", maintain_order=True)
        .len()
    )
    by_root: dict[int, list[tuple[str, str, int]]] = {}
    for root, store, place, count in following.iter_rows():
        by_root.setdefault(root, []).append((store, place, count))
    lines = [describe(row) + _following(row["store"], by_root.get(row["n"], ())) for row in shown.to_dicts()]
    return [*lines, f"and {roots.height - most:,} more"] if roots.height > most else lines


def _following(store: str, rest: Sequence[tuple[str, str, int]]) -> str:
    """`(and 8 live rollup rows that were made from it)`."""
    made: dict[str, int] = {}
    for other, place, count in rest:
        what = f"{other.removesuffix('s')} row" if other != store else "row of the identity index"
        if other == store and place != "event_positions":
            what = f"entry in {place}" if len(place) < 30 else "row in it"
        made[what] = made.get(what, 0) + count
    if not made:
        return ""
    words = [f"{count:,} {_plural(what) if count > 1 else what}" for what, count in made.items()]
    return f" (and {', '.join(words)} that follow{'s' if sum(made.values()) == 1 else ''} from it)"


def _plural(what: str) -> str:
    return "entries" + what.removeprefix("entry") if what.startswith("entry") else what.replace("row", "rows", 1)


def _label(row: dict[str, object]) -> str:
    place = f"{row['log_topic']}/{row['log_partition']}@{row['log_offset']} in " if row["log_topic"] else ""
    return f"{row['store']}: {place}{row['place']} {row['kind']}"


def _rows_at(numbered: pl.DataFrame, numbers: set[int]) -> tuple[list[int], list[dict[str, object]]]:
    rows = numbered.filter(pl.col("n").is_in(list(numbers)))
    return rows["n"].to_list(), rows.to_dicts()


def _attributed(found: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The findings with their number `n`, and for each the number of the one it follows from in the end, or null."""
    # In one piece: polars 2.1 panics in string functions on some frames that are put together of many.
    frame = found.rechunk().with_row_index("n").with_columns(pl.col("n").cast(pl.Int64))
    same_row = _same_position(frame)
    frame = frame.with_columns(same_row.alias("cause"))
    steps = (
        _duplicates(frame),
        _parts(frame),
        _first(frame, (_STORE == "archive") & _PLACED, (_STORE == "raw store") & _PLACED, POSITION),
        _first(frame, (_STORE == "slices") & _PLACED, (_STORE == "archive") & _PLACED, POSITION),
        *_seals(frame),
        _first(frame, _PROGRESS, _EVENTS, [_PARTITION]),
        *_live_rollups(frame),
        *_sealed_rollups(frame),
    )
    cause = reduce(lambda known, more: known.zip_with(known.is_not_null(), more), steps, frame["cause"])
    for _ in range(_DEPTH):
        further = cause.to_frame("at").join(
            pl.DataFrame({"at": frame["n"], "next": cause}), on="at", how="left", maintain_order="left"
        )
        cause = further.select(pl.coalesce("next", "at"))["next"]
    return frame.drop("cause"), cause


def _first(
    frame: pl.DataFrame, child: pl.Expr, root: pl.Expr, keys: Sequence[str | pl.Expr], bound: pl.Expr | None = None
) -> pl.Series:
    """For each child the first root with the same keys. `bound`: what the number of such roots must not be below."""
    names = [f"k{number}" for number in range(len(keys))]
    columns = [(pl.col(key) if isinstance(key, str) else key).alias(f"k{n}") for n, key in enumerate(keys)]
    roots = (
        frame.filter(root & pl.col("cause").is_null())
        .select("n", *columns)
        .group_by(names)
        .agg(pl.col("n").min().alias("root"), pl.len().alias("roots"))
    )
    joined = frame.select(
        "n", *columns, child.alias("child"), (bound if bound is not None else pl.lit(0)).alias("bound")
    ).join(roots, on=names, how="left", nulls_equal=True, maintain_order="left")
    mine = pl.col("child") & (pl.col("root") != pl.col("n")) & (pl.col("bound") <= pl.col("roots"))
    return joined.select(pl.when(mine).then("root"))["root"]


def _same_position(frame: pl.DataFrame) -> pl.Series:
    """Other things wrong with the same log position of a store: its row comes before index and verdicts."""
    place = ["store", *POSITION]
    order = pl.when(_PLACE.is_in(_ROWS_FIRST)).then(0).when(_STORE == "archive").then(0).otherwise(1) * frame.height
    best = pl.col("n").sort_by(order + pl.col("n")).first().over(place)
    return frame.select(pl.when(_PLACED & (best != pl.col("n"))).then(best).alias("cause"))["cause"]


def _duplicates(frame: pl.DataFrame) -> pl.Series:
    """A position that is called a duplicate, while the row that it repeats is gone, follows from that row."""
    wrong = _CALLED_DUPLICATE.any().over("store", *POSITION) & _PLACED & _STORE.is_in(["raw store", "ClickHouse"])
    identified = pl.col("event_id") != ""
    return _first(
        frame,
        wrong & identified & pl.col("cause").is_null(),
        ~wrong & identified & _PLACED,
        ["store", "workspace", "event_id"],
    )


def _parts(frame: pl.DataFrame) -> pl.Series:
    """Rows of a damaged part, and the index of its hour."""
    archive, damage = _STORE == "archive", (_STORE == "archive") & (_KIND == "damaged")
    rows = _first(frame, archive & _PLACED, damage, ["place"])
    index = _first(
        frame,
        archive & (_PLACE == "archive_contents"),
        damage | (archive & ~_PLACED & (_KIND == "missing")),
        ["bucket"],
    )
    return rows.zip_with(rows.is_not_null(), index)


def _live_rollups(frame: pl.DataFrame) -> list[pl.Series]:
    """Rows rolled up from damaged events. Where the event's own cell was changed, its other cell is met by the rest."""
    count = (
        pl.col("expected").str.extract(r"^(\d+)").cast(pl.Int64, strict=False),
        pl.col("found").str.extract(r"^(\d+)").cast(pl.Int64, strict=False),
    )
    differ = (count[0] - count[1]).abs().fill_null(0)
    keys: dict[str, Sequence[str | pl.Expr]] = {
        "network": ["workspace", _HOUR],
        "workspace": ["network", _HOUR],
        "event_time": ["workspace", "network"],
    }
    return [
        _first(frame, _LIVE & _MINUTES, _EVENTS, ["bucket", "workspace", "network"], differ),
        _first(frame, _LIVE & _HOURS, _EVENTS, [_HOUR, "workspace", "network"], differ),
        *(
            _first(frame, _LIVE, _EVENTS & pl.col("columns").str.contains(rf"\b{name}\b"), key, differ)
            for name, key in keys.items()
        ),
    ]


def _seals(frame: pl.DataFrame) -> list[pl.Series]:
    """Seals that say what their build held before it was damaged, other columns of a seal, days of a wrong hour."""
    seals, pair = _STORE == "seals", ["bucket", "network"]
    slices, rollups, hourly = _STORE == "slices", _STORE == "sealed rollups", _PLACE == "engagement_hourly"
    return [
        _first(frame, seals & (_PLACE == "connector_slices"), slices, pair),
        _first(frame, seals & (_PLACE != "connector_slices"), rollups, ["place", *pair]),
        _first(frame, seals & hourly, slices, pair),
        _first(frame, seals, seals, ["place", *pair]),
        _first(frame, seals & hourly, seals & (_PLACE == "connector_slices"), pair),
        _first(frame, seals & (_PLACE == "engagement_daily"), seals & hourly, [_DAY, "network"]),
    ]


def _sealed_rollups(frame: pl.DataFrame) -> list[pl.Series]:
    slices, hourly, daily = _STORE == "slices", _PLACE == "engagement_hourly", _PLACE == "engagement_daily"
    cell = ["workspace", "network"]
    return [
        _first(frame, hourly, slices, [_HOUR, *cell]),
        _first(frame, daily, hourly, [_DAY, *cell, "columns"]),
        _first(frame, daily, slices, [_DAY, *cell]),
    ]

"""Attribution: who earned a conversion, by six models side by side, in exact integers.

Belongs here: finding a conversion's touchpoints and splitting credit and revenue among them. Does not belong here:
which events are valid (`analytics.ad_traffic`), stores, SQL. Formulas: docs/definitions.md, Ads.

Every model is a column of integer weights; one function splits a whole by weights without losing a unit. So the credits
of a conversion sum to 1,000,000 micro-credits, and its revenue to its amount in minor units, in every model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.ads import MODELS, TOUCH_KINDS, AdRules

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MICRO = 1_000_000
UNATTRIBUTED = "unattributed"
"""Kind, campaign and every segment of the row that stands for what no touch earned."""

_DECAY_UNIT = 1 << 30
"""Weights of time decay are whole multiples of 2^-30: a last bit of a floating-point power cannot move a credit."""

IDENTITY = ("workspace", "network", "actor", "advertiser")
"""A touch can earn a conversion of the same person, on the same network, for the same advertiser."""

TOUCH_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(IDENTITY, pl.String()),
    "touch_id": pl.String(),
    "touch_at": pl.Datetime("ms", "UTC"),
    "kind": pl.String(),  # a contracts.ads.TouchKind
    "direct": pl.Boolean(),
}
CONVERSION_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(IDENTITY, pl.String()),
    "conversion_id": pl.String(),
    "converted_at": pl.Datetime("ms", "UTC"),
    "revenue_minor": pl.Int64(),  # >= 0
}
CREDIT_COLUMNS = tuple(f"credit_{model}" for model in MODELS) + tuple(f"revenue_{model}" for model in MODELS)


def attribute(conversions: pl.DataFrame, touches: pl.DataFrame, rules: AdRules) -> pl.DataFrame:
    """Return one row per (conversion, touchpoint), all models side by side, conversions in their order.

    conversions: CONVERSION_SCHEMA, ids unique, more columns are kept. touches: TOUCH_SCHEMA, ids unique, valid ones
    only; its other columns (campaign, ad, device…) are kept and must not be named as those of `conversions`.
    Added: `touchpoints` (their number), `credit_<model>` in micro-credits, `revenue_<model>` in minor units. A
    conversion without touchpoints has one row of kind `unattributed` that holds all of it, touch columns null.
    """
    touches = touches.sort("touch_at", "touch_id")
    pairs = _pairs(conversions, touches, rules)
    found = conversions.with_row_index("conversion")[pairs["conversion"]].hstack(
        touches.drop(IDENTITY)[pairs["touch"]].get_columns()
    )
    credited = found.hstack(_credits(found, rules)) if found.height else found.hstack(_no_credits())
    rest = conversions.with_row_index("conversion").join(found.select("conversion"), on="conversion", how="anti")
    whole = [
        pl.lit(0, pl.Int64).alias("touchpoints"),
        pl.lit(UNATTRIBUTED).alias("kind"),
        *(pl.lit(MICRO, pl.Int64).alias(f"credit_{model}") for model in MODELS),
        *(pl.col("revenue_minor").alias(f"revenue_{model}") for model in MODELS),
    ]
    return (
        pl.concat([credited, rest.with_columns(whole)], how="diagonal")
        .sort("conversion", maintain_order=True)
        .drop("conversion")
    )


def _pairs(conversions: pl.DataFrame, touches: pl.DataFrame, rules: AdRules) -> pl.DataFrame:
    """Row numbers (`conversion`, `touch`) of all touchpoints, by conversion, then time, then id.

    Touches are sorted by identity and time, so those of a conversion's look-back are one range: its cost is its size.
    """
    if conversions.is_empty() or touches.is_empty():
        return pl.DataFrame(schema={"conversion": pl.Int64, "touch": pl.Int64})
    both = pl.concat([touches.select(IDENTITY), conversions.select(IDENTITY)])
    identity = both.select(pl.struct(IDENTITY).rank("dense").cast(pl.Int64)).to_series().to_numpy()
    touch_ms = touches["touch_at"].dt.epoch("ms").to_numpy()
    converted_ms = conversions["converted_at"].dt.epoch("ms").to_numpy()
    widest = rules.longest_look_back_hours * 3_600_000
    begin = min(int(touch_ms.min()), int(converted_ms.min()) - widest)
    span = max(int(touch_ms.max()), int(converted_ms.max())) - begin + 1
    keys = identity[: touches.height] * span + (touch_ms - begin)
    order = np.argsort(keys, kind="stable")
    place = identity[touches.height :] * span
    low = np.searchsorted(keys[order], place + np.maximum(converted_ms - widest - begin, 0), side="left")
    high = np.searchsorted(keys[order], place + (converted_ms - begin), side="right")
    sizes = np.maximum(high - low, 0)
    conversion = np.repeat(np.arange(conversions.height), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    touch = order[np.repeat(low, sizes) + within]
    age = converted_ms[conversion] - touch_ms[touch]
    kind = touches["kind"].replace_strict(list(TOUCH_KINDS), range(len(TOUCH_KINDS)), return_dtype=pl.Int64).to_numpy()
    pairs = pl.DataFrame({"conversion": conversion, "touch": touch, "at": touch_ms[touch], "kind": kind[touch]})
    pairs = pairs.filter(pl.Series(age <= _look_back(touches, rules, kind)[touch]))
    # What happened at one instant is one exposure: its strongest kind counts.
    return pairs.filter(pl.col("kind") == pl.col("kind").min().over("conversion", "at")).select("conversion", "touch")


def _look_back(touches: pl.DataFrame, rules: AdRules, kind: Ints) -> Ints:
    """The look-back of each touch in ms, by its advertiser and kind."""

    def by_kind(advertiser: str) -> Ints:
        return np.array([rules.look_back_ms(advertiser, each) for each in TOUCH_KINDS], dtype=np.int64)

    allowed = np.array([rules.look_back_hours[each] * 3_600_000 for each in TOUCH_KINDS], dtype=np.int64)[kind]
    for advertiser in rules.advertisers:
        mine = (touches["advertiser"] == advertiser).to_numpy()
        allowed[mine] = by_kind(advertiser)[kind[mine]]
    return allowed


def _credits(found: pl.DataFrame, rules: AdRules) -> pl.DataFrame:
    """`touchpoints` and the columns of CREDIT_COLUMNS for touchpoints that stand together by conversion, in order."""
    conversion = found["conversion"].to_numpy()
    starts = np.flatnonzero(np.r_[True, conversion[1:] != conversion[:-1]])
    sizes = np.diff(np.r_[starts, len(conversion)])
    group = np.repeat(np.arange(len(starts)), sizes)
    revenue = found["revenue_minor"].to_numpy()[starts]
    columns: dict[str, Ints] = {"touchpoints": sizes[group]}
    for model, weights in _weights(found, starts, sizes, rules).items():
        credit = split(np.full(len(starts), MICRO, dtype=np.int64), weights, starts, group)
        columns[f"credit_{model}"] = credit
        columns[f"revenue_{model}"] = split(revenue, credit, starts, group)
    return pl.DataFrame(columns).select("touchpoints", *CREDIT_COLUMNS)


def _weights(found: pl.DataFrame, starts: Ints, sizes: Ints, rules: AdRules) -> dict[str, Ints]:
    group = np.repeat(np.arange(len(starts)), sizes)
    place, size = np.arange(found.height) - starts[group], sizes[group]
    first, last = place == 0, place == size - 1
    # The last that is not direct; where all are, the last: so the largest place among the candidates of each group.
    indirect = ~found["direct"].to_numpy()
    chosen = np.where(indirect, place, -1)
    best = np.maximum.reduceat(chosen, starts)
    best = np.where(best < 0, sizes - 1, best)
    age_hours = (found["converted_at"] - found["touch_at"]).dt.total_milliseconds().to_numpy() / 3_600_000
    decay = np.rint(np.exp2(-age_hours / rules.half_life_hours) * _DECAY_UNIT)
    return {
        "first": first.astype(np.int64),
        "last": last.astype(np.int64),
        "last_non_direct": (place == best[group]).astype(np.int64),
        "linear": np.ones(len(place), dtype=np.int64),
        # 40 / 20 / 40 in whole numbers: each end twice what all between have together
        "position": np.where((first | last) & (size > 2), 2 * (size - 2), 1).astype(np.int64),
        "decay": np.maximum(decay, 1).astype(np.int64),
    }


def split(totals: Ints, weights: Ints, starts: Ints, group: Ints) -> Ints:
    """Split each group's total by weights, by the largest remainder; ties go to the earlier row. Sums are exact.

    totals: one per group, >= 0. weights: one per row, >= 0, rows of a group together, at least one above 0; total times
    weight stays below 2^63. starts: the first row of each group. group: the group of each row.
    """
    whole = np.add.reduceat(weights, starts)[group]
    share = totals[group] * weights
    given, remainder = share // whole, share % whole
    missing = totals - np.add.reduceat(given, starts)
    open_rows = np.flatnonzero(missing[group] > 0)
    order = open_rows[np.lexsort((open_rows, -remainder[open_rows], group[open_rows]))]
    mine = group[order]
    new = np.r_[True, mine[1:] != mine[:-1]] if len(mine) else np.zeros(0, dtype=bool)
    rank = np.arange(len(mine)) - np.maximum.accumulate(np.where(new, np.arange(len(mine)), 0))
    given[order[rank < missing[mine]]] += 1
    return np.asarray(given, dtype=np.int64)


def _no_credits() -> list[pl.Series]:
    return [pl.Series(name, [], dtype=pl.Int64) for name in ("touchpoints", *CREDIT_COLUMNS)]

"""Invalid traffic: which ad events no person made, each with the one reason it was removed for.

Belongs here: the rules of `contracts/ads.yaml` applied to a frame of ad events, and what has no counterpart (orphans).
Does not belong here: attribution, sums, stores.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
from collections.abc import Callable, Sequence

import polars as pl

from contracts.ads import MOST_MINOR, AdRules

AD_EVENT_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("workspace", "network", "event_id", "type", "actor", "ad", "campaign"), pl.String()),
    "event_time": pl.Datetime("ms", "UTC"),
    **dict.fromkeys(("advertiser", "placement", "channel", "device", "age", "gender", "country"), pl.String()),
    **dict.fromkeys(("click_id", "conversion_id", "ip", "user_agent", "currency"), pl.String()),
    "bot": pl.Boolean(),
    "amount_minor": pl.Int64(),  # null where there is none or it is no whole number
    "has_amount": pl.Boolean(),  # whether the event names an amount at all
}
"""An ad event with its properties as columns; '' where a text is not given. `contracts.ads` says what they mean."""

_PERSON = ("workspace", "network", "actor")
_HOUR_MS = 3_600_000


def ad_events_of(rows: pl.DataFrame, rules: AdRules) -> pl.DataFrame:
    """Rows as the stores hold them (macro `ad_events`) as AD_EVENT_SCHEMA; the advertiser as the rules find it."""
    named = pl.col("advertiser")
    for network, column in rules.advertiser_from.items():
        other = pl.col("ad" if column == "object" else column)
        named = pl.when((named == "") & (pl.col("network") == network)).then(other).otherwise(named)
    return rows.with_columns(named.alias("advertiser")).select(
        pl.col(name).cast(dtype) for name, dtype in AD_EVENT_SCHEMA.items()
    )


def judge(events: pl.DataFrame, rules: AdRules) -> pl.DataFrame:
    """Add to ad events (AD_EVENT_SCHEMA) what the rules say of them; rows come back by time, then id.

    Added: `reason` (contracts.ads.REASONS, '' where valid), `amount_reason` (AMOUNT_REASONS, '' where it counts or
    there is none), `money` (the amount that counts, else 0) and `orphan`: a click without an earlier impression of the
    ad shown to this person, or a conversion with no earlier click for the advertiser.

    What is said of an event rests on the same person's events of `memory_hours` before it (a conversion's orphanhood
    on the look-back of clicks): where the frame holds those, it does not depend on how much more it holds.
    """
    events = events.sort("event_time", "event_id")
    traffic = rules.invalid_traffic
    agents = "|".join(re.escape(text) for text in traffic.bot_agents)
    is_bot = pl.col("bot") | (pl.col("user_agent").str.contains(f"(?i){agents}") if agents else pl.lit(value=False))
    known = events["ip"].unique()
    inside = _in_networks(traffic.data_centers)
    hosted = known.filter(pl.Series([inside(text) for text in known], dtype=pl.Boolean))
    is_click, is_conversion = pl.col("type") == "ad.clicked", pl.col("type") == "ad.converted"
    memory = traffic.memory_hours * _HOUR_MS
    seen = pl.when(pl.col("type") == "ad.impression").then("event_time").forward_fill().over(*_PERSON, "ad")
    clicked = pl.when(is_click).then("event_time").forward_fill().over(*_PERSON, "advertiser")
    shown_ms = (pl.col("event_time") - seen).dt.total_milliseconds()
    clicked_ms = (pl.col("event_time") - clicked).dt.total_milliseconds()
    clicks_count = pl.col("advertiser").replace_strict(
        {name: rules.look_back_ms(name, "click") for name in rules.advertisers},
        default=rules.look_back_hours["click"] * _HOUR_MS,
        return_dtype=pl.Int64,
    )
    reasons = {
        "bot": is_bot,
        "data_center": pl.col("ip").is_in(hosted.implode()),
        "duplicate": (is_click & _repeated_click(traffic.duplicate_click_ms, memory))
        | (is_conversion & _repeated_conversion(memory)),
        "too_fast": is_click & (shown_ms < traffic.too_fast_ms).fill_null(value=False),
    }
    amount = pl.col("amount_minor")
    amounts = {
        "not_an_amount": amount.is_null(),
        "negative": amount < 0,
        "too_large": amount > MOST_MINOR,
        "other_currency": pl.col("currency") != rules.currency,
    }
    return events.with_columns(
        reason=_first_of(reasons),
        amount_reason=pl.when("has_amount").then(_first_of(amounts)).otherwise(pl.lit("")),
        orphan=(is_click & (shown_ms <= memory).fill_null(value=False).not_())
        | (is_conversion & (clicked_ms <= clicks_count).fill_null(value=False).not_()),
    ).with_columns(money=pl.when(pl.col("has_amount") & (pl.col("amount_reason") == "")).then(amount).otherwise(0))


def _first_of(reasons: dict[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, holds in reasons.items()), pl.lit(""))


def _repeated_click(within_ms: int, memory_ms: int) -> pl.Expr:
    """So soon after the person's click on the same ad before it, or of the same click id as an earlier one."""
    named = _since((*_PERSON, "type", "click_id")) <= memory_ms
    return (_since((*_PERSON, "type", "ad")) < within_ms).fill_null(value=False) | (
        (pl.col("click_id") != "") & named.fill_null(value=False)
    )


def _repeated_conversion(memory_ms: int) -> pl.Expr:
    """Of the same conversion id as an earlier one; without an id, of the same ad, time and amount."""
    named = _since((*_PERSON, "type", "conversion_id")) <= memory_ms
    alike = _since((*_PERSON, "type", "ad", "conversion_id", "amount_minor", "currency")) == 0
    return pl.when(pl.col("conversion_id") != "").then(named).otherwise(alike).fill_null(value=False)


def _since(key: Sequence[str]) -> pl.Expr:
    """Milliseconds since the event before it of the same key; null where there is none. Rows are by time."""
    return pl.col("event_time").diff().over(*key).dt.total_milliseconds()


def _in_networks(texts: Sequence[str]) -> Callable[[str], bool]:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for network in map(ipaddress.ip_network, texts):
        spans[network.version].append((int(network.network_address), int(network.broadcast_address)))
    merged = {version: list(_merged(sorted(each))) for version, each in spans.items()}
    starts = {version: [low for low, _ in each] for version, each in merged.items()}

    def inside(text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        place = bisect.bisect_right(starts[address.version], int(address)) - 1
        return place >= 0 and int(address) <= merged[address.version][place][1]

    return inside


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans without overlaps, so that one bisection finds the only one that can hold a number."""
    merged: list[tuple[int, int]] = []
    for low, high in spans:
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged

"""Accounts compared: each one's share of the best and of the average of all compared.

Belongs here: the comparison, and which metrics cannot be compared. Does not belong here: the metrics
(`analytics.social`).
"""

from __future__ import annotations

import polars as pl

OWN_ONLY = {
    "by_reach": "reach is known to the account's owner only",
    "by_impressions": "impressions are known to the account's owner only",
    "by_views": "views are known to the account's owner only",
    "clicks": "clicks are known to the account's owner only",
    "economic_value": "sessions and goal values are known to the site's owner only",
}
"""Metrics that no competitor publishes, and why a comparison would compare a number with a guess."""


class OwnOnlyError(ValueError):
    """The metric cannot be told of accounts that are not one's own; the message says why and names them."""


def compare_accounts(values: pl.DataFrame, metric: str, own: set[str]) -> pl.DataFrame:
    """Add `share_of_max` and `share_of_average` to a frame of `account` and a column named as the metric.

    Accounts without a value have no shares and do not count in the average; a maximum or average of 0 or less gives
    null. Raises OwnOnlyError for a metric of OWN_ONLY with an account that is not in `own`.
    """
    if metric in OWN_ONLY:
        others = sorted(set(values["account"]) - own)
        if others:
            raise OwnOnlyError(f"{metric} cannot be told of {', '.join(others)}: {OWN_ONLY[metric]}")
    value = pl.col(metric)
    return values.with_columns(
        own=pl.col("account").is_in(sorted(own)),
        share_of_max=pl.when(value.max() > 0).then(value / value.max()),
        share_of_average=pl.when(value.mean() > 0).then(value / value.mean()),
    ).sort(metric, "account", descending=[True, False], nulls_last=True)

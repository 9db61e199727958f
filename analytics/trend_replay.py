"""Boards of the past, computed from mentions alone: who was on a board at the end of which hops.

Belongs here: the rules of `analytics.trends` over whole days at once. Does not belong here: reading mentions, facts.

It is another way to the same boards: where the live task asks one window at a time, this adds up intervals. A mention
in pane p puts its actor into the windows that end with the hops p + 1 … p + m, unless the actor's next mention does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.tails import Floats
from analytics.trends import BASELINE_PANES, ENTER_LOG10, LEAST_ACTORS, LEAVE_LOG10, WINDOWS, log10_tail

Ints = npt.NDArray[np.int64]

STAY_SCHEMA: dict[str, pl.DataType] = {
    "workspace": pl.String(),
    "network": pl.String(),
    "window": pl.String(),
    "kind": pl.String(),
    "topic": pl.String(),
    "first_hop": pl.Int64(),  # hops are numbered like panes: hop h ends where pane h begins
    "last_hop": pl.Int64(),
    "most_actors": pl.Int64(),
    "least_log10_p": pl.Float64(),
}
WARM_PANES = 360
"""A replay that starts within a stay must have seen its beginning: it begins so many panes earlier."""

LEAD_PANES = WARM_PANES + BASELINE_PANES + max(WINDOWS.values())
"""Panes of mentions that a replay needs before its first hop."""

_TOPIC = ("workspace", "network", "kind", "topic")


def replay(mentions: pl.DataFrame, first_hop: int, last_hop: int, since: Mapping[tuple[str, str], int]) -> pl.DataFrame:
    """Return every stay on a board that touches `[first_hop, last_hop]` (STAY_SCHEMA), whole as far as it was seen.

    mentions: workspace, network, kind, topic, actor (any type), pane; repeats do not matter.
    since: the first pane of each (workspace, network) that was observed at all.
    """
    columns = [*_TOPIC, "actor", "pane"]
    seen = mentions.select(columns).unique().sort(columns)
    often = seen.group_by(_TOPIC).agg(pl.col("actor").n_unique().alias("n")).filter(pl.col("n") >= LEAST_ACTORS)
    seen = seen.join(often.select(_TOPIC), on=_TOPIC, how="semi", maintain_order="left")
    rows = []
    for key, group in seen.group_by(_TOPIC, maintain_order=True):
        workspace, network, kind, topic = map(str, key)
        panes = group["pane"].cast(pl.Int64).to_numpy()
        observed = since.get((workspace, network), int(panes.min()))
        same = group["actor"] == group["actor"].shift(-1)
        after = np.where(same.fill_null(value=False).to_numpy(), np.roll(panes, -1), np.iinfo(np.int64).max)
        for window, length in WINDOWS.items():
            hops = np.arange(first_hop - WARM_PANES, last_hop + 1)
            stays = _stays(panes, after, length, observed, hops)
            rows += [(workspace, network, window, kind, topic, *stay) for stay in stays if stay[1] >= first_hop]
    return pl.DataFrame(rows, schema=STAY_SCHEMA, orient="row")


def _stays(
    panes: Ints, after: Ints, length: int, observed: int, hops: Ints
) -> Iterator[tuple[int, int, int, float]]:  # fmt: skip
    """Stays of one topic in one window: first and last hop, most actors, least log10 P."""
    first, last = int(hops[0]), int(hops[-1])
    actors = _covered(panes + 1, np.minimum(panes + length, after) + 1, first, last)
    past = _covered(panes + length + 1, panes + length + BASELINE_PANES + 1, first, last)
    observed_panes = np.clip(hops - length - observed, 0, BASELINE_PANES)
    # Where no more people came than the mean, no bound is near: the tail is computed only for the others.
    rare = (actors > 0) & (actors > length * (0.5 + past) / (0.5 + observed_panes))
    log10_p: Floats = np.zeros(len(hops))
    log10_p[rare] = log10_tail(actors[rare], past[rare], observed_panes[rare], length)
    enters = (log10_p < ENTER_LOG10) & (actors >= LEAST_ACTORS)
    if not enters.any():
        return
    stays = enters | (log10_p <= LEAVE_LOG10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], stays, [False]]).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):  # [begin, end) of hops that can be stayed through
        entering = np.flatnonzero(enters[begin:end])
        if len(entering):
            inside = slice(begin + int(entering[0]), int(end))
            yield int(hops[inside][0]), int(hops[inside][-1]), int(actors[inside].max()), float(log10_p[inside].min())


def _covered(starts: Ints, ends: Ints, first: int, last: int) -> Ints:
    """How many of the intervals `[start, end)` cover each number of `first … last`."""
    size = last - first + 2
    changes = np.bincount(np.clip(starts - first, 0, size - 1), minlength=size).astype(np.int64)
    changes -= np.bincount(np.clip(ends - first, 0, size - 1), minlength=size).astype(np.int64)
    return np.cumsum(changes)[:-1]

"""What should be at log positions that findings name.

Belongs here: what repairs by position share. Does not belong here: writing.
"""

from __future__ import annotations

import polars as pl

from resources.archive.ranges import within
from serving.audit.archive import inspect_archive
from serving.audit.findings import POSITION
from serving.audit.judge import inspect_log, judge
from serving.audit.places import ranges_of
from serving.audit.stores import AuditStores, groups, read_reach
from serving.audit.truth import Truth, read_truth
from streaming.worker.decode import DecodedBatch


def truths(stores: AuditStores, positions: pl.DataFrame) -> list[Truth]:
    """What the log or a whole archive part says about the positions, in pieces of bounded size.

    Where the log is wrong, it is what two stores agree on; where nobody can decide, the positions are `unknown`.
    """
    state = inspect_archive(stores.archive, stores.clickhouse)
    reach = read_reach(stores.log)
    found = []
    for group in groups(ranges_of(positions)):
        truth = read_truth(stores, reach, group, state.parts, state.broken)
        condition = inspect_log(stores.log, reach.readable(group))
        found.append(judge(stores, reach, truth, condition, positions.filter(within(group)), state).truth)
    return found


def known(truth: Truth, positions: pl.DataFrame) -> pl.DataFrame:
    """Those of the positions that the truth speaks for."""
    return positions.filter(within(truth.ranges) & ~within(truth.unknown))


def batch_of(truth: Truth, positions: pl.DataFrame) -> DecodedBatch:
    """The positions' events and refused rows, as the input workers get them."""
    events = truth.events.join(positions, on=list(POSITION), how="semi", maintain_order="left").sort(POSITION)
    rejects = truth.rejects.join(positions, on=list(POSITION), how="semi", maintain_order="left").sort(POSITION)
    return DecodedBatch(events, rejects, events.height + rejects.height)

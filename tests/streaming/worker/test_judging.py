"""Which rows are new, and which row of a refused block is at fault."""

from __future__ import annotations

import polars as pl
import pytest

from streaming.worker.isolate import StoreRefusesError, write_isolating
from streaming.worker.judge import KNOWN_SCHEMA, judge

ID = ["00000000-0000-4000-8000-00000000000" + digit for digit in "0123456789"]


def events(*rows):
    """Rows of (id, offset) in partition 0, or (id, offset, workspace)."""
    return pl.DataFrame(
        {
            "workspace": [(*row, "w")[2] for row in rows],
            "event_id": [ID[row[0]] for row in rows],
            "log_topic": ["t"] * len(rows),
            "log_partition": pl.Series([0] * len(rows), dtype=pl.Int32),
            "log_offset": [row[1] for row in rows],
        }
    )


def known(*rows):
    values = [("w", ID[number].replace("-", ""), "t", 0, offset) for number, offset in rows]
    return pl.DataFrame(values, schema=KNOWN_SCHEMA, orient="row")


def offsets(judged):
    return tuple(frame["log_offset"].to_list() for frame in (judged.new, judged.duplicates, judged.seen_again))


def test_the_lowest_position_of_a_batch_wins():
    assert offsets(judge(events((1, 10), (2, 11), (1, 12)), known(), recovering=False)) == ([10, 11], [12], [])


def test_two_workspaces_may_use_one_id():
    assert offsets(judge(events((1, 10), (1, 11, "v")), known(), recovering=False)) == ([10, 11], [], [])


def test_an_id_stored_elsewhere_makes_a_duplicate():
    assert offsets(judge(events((1, 10), (2, 11)), known((1, 3)), recovering=False)) == ([11], [10], [])


def test_a_row_at_its_own_position_is_no_duplicate():
    batch, stored = events((1, 10), (2, 11)), known((1, 10))
    assert offsets(judge(batch, stored, recovering=False)) == ([11], [], [10])
    # After a crash it belongs to the block again: its token decides, and views that lack it get it.
    assert offsets(judge(batch, stored, recovering=True)) == ([10, 11], [], [])


def test_the_stored_row_keeps_its_verdict_when_a_replay_meets_its_duplicate_first():
    """First life: partition order put offset 20 first. A replay reads 10 before 20: verdicts must not change sides."""
    batch = events((1, 10), (1, 20))
    assert offsets(judge(batch, known((1, 20)), recovering=False)) == ([], [10], [20])
    assert offsets(judge(batch, known((1, 20)), recovering=True)) == ([20], [10], [])


class RefusedError(Exception):
    pass


class Table:
    """Takes blocks that hold none of the poisonous offsets; a block of one name is taken once."""

    def __init__(self, poison):
        self.poison = poison
        self.rows = []
        self.names = set()
        self.attempts = []
        self.probes = 0

    def write(self, rows, name):
        self.attempts.append(rows.height)
        self._refuse(rows)
        if name not in self.names:
            self.names.add(name)
            self.rows += rows["log_offset"].to_list()

    def probe(self, rows):
        self.probes += 1
        self._refuse(rows)

    def _refuse(self, rows):
        if self.poison & set(rows["log_offset"]):
            raise RefusedError(f"cannot take {rows.height} rows")

    def isolate(self, size):
        block = pl.DataFrame({"log_topic": "t", "log_partition": 0, "log_offset": range(size)})
        return write_isolating(block, self.write, self.probe, (RefusedError,))


def test_one_poisonous_row_does_not_hold_up_its_neighbours():
    table = Table({613})
    assert [item.rows["log_offset"].to_list() for item in table.isolate(1000)] == [[613]]
    assert table.rows == [offset for offset in range(1000) if offset != 613]
    assert table.attempts == [1000, 1000, 1000, 999]  # three tries, then the rest as one block
    assert table.probes < 30


def test_isolating_again_after_a_crash_writes_nothing_twice():
    table = Table({3, 700})
    for _ in range(2):
        assert len(table.isolate(1000)) == 2
    assert len(table.rows) == len(set(table.rows)) == 998


def test_a_block_of_poison_alone_leaves_nothing_to_write():
    table = Table({0})
    assert len(table.isolate(1)) == 1
    assert table.rows == []


def test_a_store_that_refuses_everything_is_at_fault_itself():
    """A wrong table must not send a whole firehose to quarantine: the worker waits for someone to mend it."""
    with pytest.raises(StoreRefusesError, match="rows are refused"):
        Table(set(range(1000))).isolate(1000)


def test_a_block_that_no_row_spoils_is_not_blamed_on_rows():
    """A view that fails, say: the block may be half written, so nothing but the same block may follow."""
    table = Table(set())

    def write(_rows, _name):
        raise RefusedError("a view failed")

    block = pl.DataFrame({"log_topic": "t", "log_partition": 0, "log_offset": range(10)})
    with pytest.raises(StoreRefusesError, match="no row of it alone"):
        write_isolating(block, write, table.probe, (RefusedError,))


def test_other_errors_pass_through():
    def write(_rows, _name):
        raise OSError("no connection")

    with pytest.raises(OSError, match="no connection"):
        write_isolating(pl.DataFrame({"log_offset": [1]}), write, write, (RefusedError,))

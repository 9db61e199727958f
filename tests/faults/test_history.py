"""The checker itself: each broken promise that is planted is found, and named with its fault."""

from __future__ import annotations

import pytest
from history import History, Violation, by_fault, times


@pytest.fixture
def history() -> History:
    """Three rows: two acknowledged, one of which was sent twice; the outcome of the third is unknown."""
    made = History()
    made.sending(["a", "b"])
    made.answered(["a"])
    made.fault = "broker killed"
    made.sending(["b", "c"])
    made.answered(["b"])
    made.saw_sealed("hour 10", (7, 0))
    made.saw_sealed("hour 10", (7, 0))
    made.saw_count("events", 1)
    made.saw_count("events", 2)
    return made


@pytest.mark.parametrize("stored", [["a", "b"], ["a", "b", "c"]])
def test_an_unknown_outcome_may_be_either(history: History, stored: list[str]) -> None:
    assert history.judge(times(stored)) == []


@pytest.mark.parametrize(
    ("stored", "kind", "what", "fault"),
    [
        (["a", "c"], "lost", "b", ""),
        (["a", "b", "b"], "doubled", "b", ""),
        (["a", "b", "c", "c"], "doubled", "c", "broker killed"),
        (["a", "b", "d"], "invented", "d", ""),
    ],
)
def test_planted_rows_are_found(history: History, stored: list[str], kind: str, what: str, fault: str) -> None:
    found = history.judge(times(stored))
    assert [(each.kind, each.what, each.fault) for each in found] == [(kind, what, fault)]


def test_a_sealed_number_that_flickers_is_found_even_if_it_comes_back(history: History) -> None:
    history.saw_sealed("hour 10", (9, 0))
    history.saw_sealed("hour 10", (7, 0))
    found = history.judge(times("ab"))
    assert [each.kind for each in found] == ["flickered", "flickered"]
    assert by_fault(found) == {"broker killed": {"flickered": 2}}


def test_a_count_that_falls_is_found(history: History) -> None:
    history.saw_count("events", 1)
    assert history.judge(times("ab")) == [Violation("shrank", "events", "broker killed", "2 became 1")]

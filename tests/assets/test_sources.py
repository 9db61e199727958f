"""Two hundred sources at once: a hanging one and a failing one are reported and fail alone."""

from __future__ import annotations

import threading
import time

from assets.connector_slices.sources import Source, load_all


def test_198_sources_finish_although_one_hangs_and_one_is_a_hundred_times_as_big() -> None:
    release = threading.Event()
    solo = 0.01

    def load(number: int) -> int:
        if number == 17:
            release.wait(30)
        time.sleep(solo * (100 if number == 40 else 1))
        return number

    outcomes = {}
    for outcome in load_all([Source(f"s{n}", lambda n=n: load(n)) for n in range(200)], timeout=3.0, workers=8):
        outcomes[outcome.source.name] = outcome
    release.set()

    assert len(outcomes) == 200
    assert not outcomes["s17"].ok
    assert "no answer within 3 s" in outcomes["s17"].error
    assert outcomes["s40"].value == 40
    assert list(outcomes)[-1] == "s17", "nobody waits for the one that hangs"
    typical = sorted(outcome.seconds for name, outcome in outcomes.items() if name not in {"s17", "s40"})
    assert typical[len(typical) // 2] < 1.0, "a source's time is its own, not that of the queue before it"


def test_an_error_is_named_and_a_late_answer_is_thrown_away() -> None:
    def fail() -> int:
        raise OSError("connection refused by 10.0.0.1")

    def late() -> int:
        time.sleep(0.3)
        return 1

    outcomes = {o.source.name: o for o in load_all([Source("bad", fail), Source("late", late)], timeout=0.1)}
    assert outcomes["bad"].error == "OSError: connection refused by 10.0.0.1"
    assert outcomes["late"].value is None
    assert not outcomes["late"].ok


def test_no_source_is_no_outcome() -> None:
    assert list(load_all([], timeout=1.0)) == []

"""The tail against exact sums in eighty decimal digits, from certain to 1e-3000."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest

from analytics.tails import log10_negative_binomial_tail, log_gamma


def exact_log10_tail(x: int, r: float, p: float) -> float:
    """Sum the probabilities from x upwards, each from the one before it, until they no longer count."""
    getcontext().prec = 80
    size, success = Decimal(r), Decimal(p)
    term = (size * success.ln()).exp()
    for k in range(x):
        term = term * (size + k) / (k + 1) * (1 - success)
    total, k = Decimal(0), x
    while term > total * Decimal("1e-40") or k < x + 10:
        total += term
        term = term * (size + k) / (k + 1) * (1 - success)
        k += 1
    return float(total.log10())


@pytest.mark.parametrize("total", [0, 1, 7, 60, 1000, 20_000])
@pytest.mark.parametrize(("past", "window"), [(0, 6), (10, 30), (360, 6), (360, 30), (360, 90)])
@pytest.mark.parametrize("x", [1, 5, 12, 60, 800, 3000])
def test_the_tail_equals_the_exact_sum(total: int, past: int, window: int, x: int) -> None:
    r, p = 0.5 + total, (0.5 + past) / (0.5 + past + window)
    expected = exact_log10_tail(x, r, p)
    assert log10_negative_binomial_tail(x, r, p)[0] == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_the_log_of_gamma_is_the_one_of_the_standard_library() -> None:
    values = np.concatenate([np.linspace(0.01, 30, 500), 10.0 ** np.arange(2, 9)])
    assert log_gamma(values) == pytest.approx([math.lgamma(value) for value in values], rel=1e-13, abs=1e-13)


def test_nothing_seen_is_certain_and_more_is_rarer() -> None:
    tails = log10_negative_binomial_tail(np.arange(0, 400, 0.25), 5.5, 0.9)
    assert tails[0] == 0.0
    assert np.all(np.diff(tails) < 0)

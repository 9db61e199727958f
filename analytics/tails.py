"""Tail probabilities that stay exact where they are tiny: log-gamma, and the upper tail of the negative binomial law.

Belongs here: special functions over numpy arrays that numpy does not have. Does not belong here: their use.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SHIFT = 10
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_TINY = 1e-300
_ENOUGH = 4e-16
_MOST_STEPS = 20_000


def log_gamma(z: npt.ArrayLike) -> Floats:
    """ln Gamma(z) for z > 0: Stirling's series at z + 10, carried back by the recurrence. Error about 1e-14."""
    values = np.asarray(z, dtype=np.float64)
    high = values + _SHIFT
    carried = np.zeros_like(values)
    for step in range(_SHIFT):
        carried += np.log(values + step)
    inverse = 1 / high
    square = inverse * inverse
    series = np.zeros_like(values)
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    stirling: Floats = (high - 0.5) * np.log(high) - high + 0.5 * np.log(2 * np.pi) + series * inverse - carried
    return stirling


def log_incomplete_beta(x: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """ln I_x(a, b), the regularised incomplete beta function, for 0 < x < 1 and a, b > 0.

    By its continued fraction (DLMF 8.17.22, Lentz's method) in logarithms, so that 1e-5000 is as exact as 0.5; where
    the fraction converges badly, by the complement.
    """
    x_, a_, b_ = (np.atleast_1d(each) for each in np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, a, b))))
    direct = x_ < (a_ + 1) / (a_ + b_ + 2)
    result = np.empty_like(x_)
    result[direct] = _log_fraction(x_[direct], a_[direct], b_[direct])
    rest = ~direct
    complement = _log_fraction(1 - x_[rest], b_[rest], a_[rest])
    with np.errstate(divide="ignore"):
        result[rest] = np.log(-np.expm1(np.minimum(complement, 0.0)))
    bounded: Floats = np.minimum(result, 0.0)
    return bounded


def log10_negative_binomial_tail(x: npt.ArrayLike, r: npt.ArrayLike, p: npt.ArrayLike) -> Floats:
    """log10 P(X >= x) for X ~ NegBin(r, p): failures before the r-th success, each trial succeeding with `p`.

    P(X >= x) = I_{1-p}(x, r), which also says what a count between two whole numbers means. x <= 0 gives 0 (P = 1).
    """
    x_, r_, p_ = (np.atleast_1d(each) for each in np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, r, p))))
    result = np.zeros_like(x_)
    some = x_ > 0
    result[some] = log_incomplete_beta(1 - p_[some], x_[some], r_[some]) / np.log(10)
    return result


def _log_fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    if not x.size:
        return np.empty_like(x)
    front = a * np.log(x) + b * np.log1p(-x) - np.log(a) - (log_gamma(a) + log_gamma(b) - log_gamma(a + b))
    c = np.ones_like(x)
    d = _away_from_zero(1 - (a + b) * x / (a + 1))
    d = 1 / d
    total = d.copy()
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away_from_zero(1 + even * d)
        c = _away_from_zero(1 + even / c)
        total *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _away_from_zero(1 + odd * d)
        c = _away_from_zero(1 + odd / c)
        step = d * c
        total *= step
        if np.all(np.abs(step - 1) < _ENOUGH):
            break
    result: Floats = front + np.log(total)
    return result


def _away_from_zero(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)

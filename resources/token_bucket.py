"""A token bucket, for everyone who answers "later" instead of growing.

Belongs here: counting and deciding. Does not belong here: who has a bucket, status codes, headers.
Used from one event loop only, hence no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """`rate` tokens a second, at most `rate * burst_seconds` saved up. A rate of 0 never refuses.

    A request larger than the whole bucket is let through when the bucket is not in debt and pays afterwards:
    otherwise it could never pass.
    """

    def __init__(self, rate: float, burst_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._capacity = max(rate * burst_seconds, 1.0)
        self._tokens = self._capacity
        self._clock = clock
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take the tokens and return 0.0, or take nothing and return the seconds to wait."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        needed = min(amount, self._capacity)
        if self._tokens >= needed:
            self._tokens -= amount
            return 0.0
        return (needed - self._tokens) / self._rate

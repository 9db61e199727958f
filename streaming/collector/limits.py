"""A limit that answers "later" instead of growing: a budget of bytes in flight.

Belongs here: counting and deciding. Does not belong here: status codes and headers (`app`).
Used from the event loop only, hence no lock.
"""

from __future__ import annotations


class ByteBudget:
    """Bytes that requests hold at this moment. What does not fit is refused at once: there is no queue to grow."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def reserve(self, amount: int) -> bool:
        if self.used + amount > self.limit:
            return False
        self.used += amount
        return True

    def release(self, amount: int) -> None:
        self.used -= amount

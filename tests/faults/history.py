"""What happened while things were broken, and which promises the history breaks.

Belongs here: recording sends, answers and observations, and judging them. Does not belong here: stores, faults.

The promises: what was acknowledged is stored; nothing is stored that was not sent; whatever the outcome of a send was,
acknowledged or unknown, its rows are stored at most once; the number of a sealed hour never changes without a
restatement; a count of stored events never falls.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

Kind = Literal["lost", "doubled", "invented", "flickered", "shrank"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise. `what` is an event id, or the name of what was observed; `fault` went on when it was sent."""

    kind: Kind
    what: str
    fault: str
    detail: str = ""


@dataclass
class History:
    """Thread-safe. `fault` is what is being done to the system now, '' between faults."""

    fault: str = ""
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    sealed: dict[str, list[tuple[Hashable, str]]] = field(default_factory=dict)
    counts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sending(self, ids: Iterable[str]) -> None:
        """Rows go out; sent again, they stay rows of the fault in which they went out first."""
        with self._lock:
            for event_id in ids:
                self.sent.setdefault(event_id, self.fault)

    def answered(self, ids: Iterable[str]) -> None:
        with self._lock:
            self.acknowledged.update(ids)

    def saw_sealed(self, name: str, value: Hashable) -> None:
        """A reader got this answer about a closed hour; `value` names its number and how often it was restated."""
        with self._lock:
            self.sealed.setdefault(name, []).append((value, self.fault))

    def saw_count(self, name: str, value: int) -> None:
        with self._lock:
            self.counts.setdefault(name, []).append((value, self.fault))

    def judge(self, stored: Mapping[str, int]) -> list[Violation]:
        """Compare with what the store holds in the end: event id → how often."""
        found = [
            Violation("lost", event_id, self.sent.get(event_id, ""), "acknowledged and not stored")
            for event_id in sorted(self.acknowledged - stored.keys())
        ]
        for event_id, times in sorted(stored.items()):
            if event_id not in self.sent:
                found.append(Violation("invented", event_id, "", "stored and never sent"))
            elif times > 1:
                found.append(Violation("doubled", event_id, self.sent[event_id], f"stored {times} times"))
        for name, seen in self.sealed.items():
            found += [
                Violation("flickered", name, fault, f"{before} became {value}")
                for (before, _), (value, fault) in pairwise(seen)
                if value != before
            ]
        for name, numbers in self.counts.items():
            found += [
                Violation("shrank", name, fault, f"{before} became {value}")
                for (before, _), (value, fault) in pairwise(numbers)
                if value < before
            ]
        return found


def by_fault(violations: Iterable[Violation]) -> dict[str, Counter[str]]:
    """How often each kind of violation befell rows that were sent during each fault."""
    found: dict[str, Counter[str]] = {}
    for violation in violations:
        found.setdefault(violation.fault, Counter())[violation.kind] += 1
    return found


def times(ids: Iterable[Any]) -> dict[str, int]:
    """Event id → how often, as `judge` takes it."""
    return dict(Counter(map(str, ids)))

"""What a question can have wrong with it. Belongs here: the errors of the query layer. Not here: the checks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED_AT_MOST = 40


class QueryError(ValueError):
    """The question cannot be answered as asked; the message names the value and what would do."""


class UnknownNameError(QueryError):
    """A metric, dimension, grain or time zone that does not exist. `valid` has every name that does."""

    def __init__(self, kind: str, name: str, valid: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.valid = tuple(sorted(set(valid)))
        if len(self.valid) <= _LISTED_AT_MOST:
            hint = f"valid: {', '.join(self.valid)}"
        else:
            near = difflib.get_close_matches(name, self.valid, n=5, cutoff=0.5)
            near = near or [each for each in self.valid if name.casefold() in each.casefold()][:5]
            hint = (
                f"nearest of {len(self.valid)}: {', '.join(near)}" if near else f"none of {len(self.valid)} is like it"
            )
            hint += "; docs/metrics.md lists them" if kind == "metric" else ""
            hint += "; e.g. UTC, Europe/Berlin, Asia/Kolkata" if kind == "time zone" else ""
        super().__init__(f"unknown {kind} {name!r}; {hint}")

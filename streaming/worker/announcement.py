"""The announcement of a batch: what is about to be written, kept in the metadata of the group's offset commits.

Belongs here: its text form and the promise that it fits. Does not belong here: when to announce (`runner`).
The token is drawn at random, not derived from the ranges: a log that was started anew uses the same offsets again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from resources.event_log.base import OffsetRange

MAX_METADATA_BYTES = 4_000
_FRAME_BYTES = 80  # version, token and braces
_RANGE_BYTES = 46  # three numbers with their commas and brackets, at the longest


@dataclass(frozen=True, slots=True)
class Announcement:
    """Ranges of one batch, ordered by topic and partition, and the token its inserts carry.

    `is_replay`: the store had verdicts from these ranges before, under other tokens (somebody set the group back).
    """

    token: str
    ranges: tuple[OffsetRange, ...]
    is_replay: bool = False

    @classmethod
    def of(cls, ranges: Iterable[OffsetRange], *, is_replay: bool = False) -> Announcement:
        return cls(uuid.uuid4().hex, tuple(sorted(ranges)), is_replay)

    def encode(self) -> str:
        """Return JSON of at most 4,000 bytes. Raises ValueError above that: the batch builder must not allow it."""
        topics: dict[str, list[list[int]]] = {}
        for topic, partition, start, end in self.ranges:
            topics.setdefault(topic, []).append([partition, start, end])
        value = {"v": 1, "token": self.token, "replay": int(self.is_replay), "ranges": topics}
        text = json.dumps(value, separators=(",", ":"))
        if len(text.encode()) > MAX_METADATA_BYTES:
            raise ValueError(
                f"announcement of {len(self.ranges)} ranges takes {len(text)} bytes, limit {MAX_METADATA_BYTES}"
            )
        return text

    @classmethod
    def decode(cls, metadata: str) -> Announcement | None:
        """Read commit metadata; None when it announces nothing. Raises ValueError when it is of another version."""
        if not metadata:
            return None
        try:
            value = json.loads(metadata)
            if value["v"] != 1:
                raise ValueError(f"version {value['v']}")
            ranges = [OffsetRange(topic, *place) for topic, places in value["ranges"].items() for place in places]
            return cls(str(value["token"]), tuple(sorted(ranges)), bool(value["replay"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"commit metadata {metadata[:80]!r} is not an announcement: {error}") from error


def fits(topics: Iterable[str], ranges: int) -> bool:
    """Tell whether an announcement over these topics and so many ranges is certain to fit."""
    return _FRAME_BYTES + sum(len(topic.encode()) + 6 for topic in topics) + ranges * _RANGE_BYTES <= MAX_METADATA_BYTES

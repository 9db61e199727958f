"""Who asks: the key of a request, remembered for a moment, and how many requests it may send.

Belongs here: authentication, permission and rate of a request. Does not belong here: keeping keys (`serving.access`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from resources.token_bucket import TokenBucket
from serving.access.keys import Key, digest_of
from serving.access.roles import Action, Role, may
from serving.access.store import AccessStore, AccessUnavailableError
from serving.api.problems import ProblemError

REMEMBERED_SECONDS = 2.0
"""A revoked key is refused this long after, at the latest."""

_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    key_id: str
    workspace: str
    role: Role


class Callers:
    """Known keys of one process. Used from the event loop only."""

    def __init__(self, access: AccessStore, requests_per_second: float, burst_seconds: float = 5.0) -> None:
        self._access = access
        self._rate = requests_per_second
        self._burst = burst_seconds
        self._known: OrderedDict[str, tuple[float, Key | None]] = OrderedDict()
        self._buckets: dict[str, TokenBucket] = {}

    async def admit(self, authorization: str, action: Action) -> Caller:
        """Return who sends this header, if they may do that now. Raises ProblemError: 401, 403, 429 or 503."""
        key = await self.recognise(authorization)
        self.spend(key.id)
        require(key.role, action)
        return Caller(key.id, key.workspace, key.role)

    async def recognise(self, authorization: str) -> Key:
        """Return the good key that this header holds. Raises ProblemError: 401 or 503."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ProblemError("no-key", "send your API key as 'Authorization: Bearer KEY'")
        key = await self._find(token.strip())
        if key is None or not key.is_good(datetime.now(UTC)):
            raise ProblemError("no-key", "this API key is not known here, has expired or was revoked")
        return key

    def known(self, authorization: str) -> Key | None:
        """Return the good key that this header holds if it was looked up just now; None: recognise it."""
        scheme, _, token = authorization.partition(" ")
        found = self._known.get(digest_of(token.strip())) if scheme.lower() == "bearer" else None
        if found is None or time.monotonic() - found[0] >= REMEMBERED_SECONDS:
            return None
        key = found[1]
        return key if key is not None and key.is_good(datetime.now(UTC)) else None

    def forget(self) -> None:
        """Look every key up again: one was changed here."""
        self._known.clear()

    async def _find(self, token: str) -> Key | None:
        digest = digest_of(token)
        now = time.monotonic()
        found = self._known.get(digest)
        if found is not None and now - found[0] < REMEMBERED_SECONDS:
            return found[1]
        try:
            key = await asyncio.to_thread(self._access.find, token)
        except AccessUnavailableError as error:
            raise ProblemError("unavailable", "the access database does not answer", retry_after=2) from error
        self._known[digest] = (now, key)
        self._known.move_to_end(digest)
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return key

    def spend(self, key_id: str) -> None:
        """Count one request. Raises ProblemError: 429."""
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = TokenBucket(self._rate, self._burst)
        wait = bucket.take(1)
        if wait > 0:
            raise ProblemError(
                "rate-limited",
                f"a key may send {self._rate:g} requests a second, and saves up {self._burst:g} s of them",
                retry_after=math.ceil(wait),
            )


def require(role: Role, action: Action) -> None:
    """Raise ProblemError unless the role may do that."""
    if not may(role, action):
        raise ProblemError("not-allowed", f"a key of role {role} may not {action.value.replace('_', ' ')}")

"""Answers that need not be computed again: in this process, then in Redis, then the store, once for all who ask.

Belongs here: which answer is still good, the two tiers, single flight. Does not belong here: computing answers.

An answer is good while the store has not moved since (`Versions`, at most `live_staleness` behind); one computed just
after the store moved is good for that long only, because not every table may have had what the version counts. An
answer over a range in which events are complete, or as of an instant, is good for `closed_staleness` as well, unless
something was sealed since: only what is late can change it. A key holds the workspace, so that no two of them share an
answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from resources.cache import CacheError
from resources.clickhouse import Client
from serving.api.answers import Answered
from serving.api.config import ApiConfig
from serving.api.stores import Stores
from serving.api.telemetry import Telemetry
from serving.api.versions import Versions
from serving.progress import Progress

LOCAL_BYTES = 32 << 20
LARGEST_BYTES = 1 << 20
"""A larger answer is not kept: it would push out hundreds of others."""

_NAMESPACE = "api"
_SHARED_FOR = timedelta(seconds=60)
_REST_SECONDS = 5.0
"""After the shared cache did not answer, it is left alone for this long: each try may cost half a second."""

_log = logging.getLogger(__name__)
Load = Callable[[Client], Answered]
_Flight = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    answered: Answered
    slot: str
    at: float
    settled: bool


class AnswerCache:
    """Used from one event loop; stores are asked in threads."""

    def __init__(self, stores: Stores, versions: Versions, telemetry: Telemetry, config: ApiConfig) -> None:
        self._stores = stores
        self._versions = versions
        self._telemetry = telemetry
        self._closed_for = config.closed_staleness
        self._live_for = config.live_staleness
        self._local: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: dict[_Flight, asyncio.Task[Answered]] = {}
        self._rest_until = 0.0

    async def get(self, key: str, load: Load, *, closed_from: datetime | None, least: int = 0) -> Answered:
        """Return the answer under `key`, by `load` if there is no good one.

        `closed_from`: from when on, as far as events are complete, the answer counts as closed; None: it does already.
        `least`: a version that the caller has seen; no older answer is given, as far as the store has that version.
        Raises ProblemError.
        """
        seen = await self._versions.now(least)
        least = min(least, seen.sequence)  # what the store has not reached, nobody has seen here
        slot, settled = self._slot(seen, closed_from), self._versions.is_settled()
        found = self._here(key, slot, least)
        if found is not None:
            return found
        return await self._share((key, slot, least), lambda: self._fetch(key, slot, load, least=least, settled=settled))

    def known(self, key: str, *, closed_from: datetime | None, least: int = 0) -> Answered | None:
        """What `get` returns if this process has it and need not ask anyone; None: `get` must."""
        seen = self._versions.known(least)
        return self._here(key, self._slot(seen, closed_from), least) if seen is not None else None

    def _here(self, key: str, slot: str, least: int) -> Answered | None:
        entry = self._local.get(key)
        if entry is None or entry.slot != slot or not self._is_good(entry, least):
            return None
        self._local.move_to_end(key)
        self._telemetry.answers["local"] += 1
        return entry.answered

    async def get_for(self, key: str, load: Load) -> Answered:
        """Return the answer under `key`, not older than `live_staleness`, whatever the store's version; local only."""
        entry = self._local.get(key)
        if entry is not None and time.time() - entry.at < self._live_for:
            self._telemetry.answers["local"] += 1
            return entry.answered

        async def fetch() -> Answered:
            began = time.time()
            self._telemetry.answers["store"] += 1
            answered = await self._stores.ask(load)
            self._keep(key, _Entry(answered, "", began, settled=False))
            return answered

        return await self._share((key, "", 0), fetch)

    async def _share(self, flight: _Flight, fetch: Callable[[], Coroutine[Any, Any, Answered]]) -> Answered:
        task = self._flights.get(flight)
        if task is None:
            task = self._flights[flight] = asyncio.create_task(fetch())
            task.add_done_callback(lambda done: self._landed(flight, done))
        else:
            self._telemetry.waited += 1
        # Shielded: one who hangs up does not end it for the others.
        return await asyncio.shield(task)

    def _landed(self, flight: _Flight, task: asyncio.Task[Answered]) -> None:
        del self._flights[flight]
        if not task.cancelled():
            task.exception()  # retrieved, also when everyone who waited for it has gone

    async def _fetch(self, key: str, slot: str, load: Load, *, least: int, settled: bool) -> Answered:
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

        def shared_or_computed() -> tuple[_Entry, str]:
            found = self._shared(name, slot)
            if found is not None and self._is_good(found, least):
                return found, "shared"
            began = time.time()
            entry = _Entry(load(self._stores.client()), slot, began, settled)
            self._put(name, entry)
            return entry, "store"

        entry, tier = await self._stores.run(shared_or_computed)
        self._telemetry.answers[tier] += 1
        self._keep(key, entry)
        return entry.answered

    def _slot(self, seen: Progress, closed_from: datetime | None) -> str:
        """What must be the same for an answer to be good: the seals, or everything the store says of itself."""
        through = seen.complete_until
        if closed_from is None or (through is not None and closed_from <= through):
            return f"closed/{seen.seals}"
        return f"live/{seen.version}/{through}"

    def _is_good(self, entry: _Entry, least: int) -> bool:
        if entry.answered.version < least:
            return False
        if entry.slot.startswith("closed/"):
            return time.time() - entry.at < self._closed_for
        return entry.settled or time.time() - entry.at < self._live_for

    def _keep(self, key: str, entry: _Entry) -> None:
        size = len(entry.answered.body)
        if size > LARGEST_BYTES:
            return
        before = self._local.pop(key, None)
        self._local[key] = entry
        self._telemetry.local_bytes += size - (len(before.answered.body) if before else 0)
        while self._telemetry.local_bytes > LOCAL_BYTES:
            _, oldest = self._local.popitem(last=False)
            self._telemetry.local_bytes -= len(oldest.answered.body)

    # -- the shared tier, from threads --------------------------------------------------------------------------------

    def _shared(self, name: str, slot: str) -> _Entry | None:
        if time.monotonic() < self._rest_until:
            return None
        try:
            found = self._stores.cache.get_json(_NAMESPACE, slot, name)
        except CacheError as error:
            self._rest(error)
            return None
        if not isinstance(found, dict):
            return None
        answered = Answered(found["body"].encode(), found["version"], found["cursor"])
        return _Entry(answered, slot, found["at"], found["settled"])

    def _put(self, name: str, entry: _Entry) -> None:
        answered = entry.answered
        if time.monotonic() < self._rest_until or len(answered.body) > LARGEST_BYTES:
            return
        document = {
            "body": answered.body.decode(), "version": answered.version, "cursor": answered.next_cursor, "at": entry.at,
            "settled": entry.settled,
        }  # fmt: skip
        try:
            self._stores.cache.set_json(_NAMESPACE, entry.slot, name, document, _SHARED_FOR)
        except CacheError as error:
            self._rest(error)

    def _rest(self, error: CacheError) -> None:
        self._rest_until = time.monotonic() + _REST_SECONDS
        self._telemetry.cache_problems += 1
        _log.warning("the shared cache is left alone for %g s: %s", _REST_SECONDS, error)

"""Group `live`: new events into ClickHouse `events`, every other verdict into `live_rejects`.

Belongs here: the order of lookups and inserts, and which of ClickHouse's errors blame the rows. Does not belong here:
the protocol (`resources.clickhouse`), the decision about duplicates (`judge`).
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import polars as pl
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.external import ExternalData

from resources.clickhouse import ClickHouseUnavailableError, insert_frame, open_clickhouse
from resources.crashpoints import crashpoint
from resources.event_log.base import TopicPartition
from streaming.worker.decode import DecodedBatch, watermarks
from streaming.worker.isolate import Poison, StoreRefusesError, write_isolating
from streaming.worker.judge import KNOWN_SCHEMA, POSITION, Judged, event_keys, judge
from streaming.worker.refused import poison_rejects
from streaming.worker.retry import until_done
from streaming.worker.writing import Written

_log = logging.getLogger(__name__)

_NOT_LIVE = ("raw",)  # columns of the envelope that ClickHouse `events` does not have

# Codes of ClickHouse errors that are about a value: only these may send rows to quarantine. Whatever else goes wrong
# (no table, no memory, too many parts, no rights) is waited for, because no row is to blame.
_VALUE_CODES = frozenset({6, 26, 27, 33, 38, 41, 50, 53, 69, 70, 72, 117, 128, 131, 190, 321, 349, 376, 407, 441, 469})
_CODE = re.compile(r"\bcode:?\s*(\d+)", re.IGNORECASE)

# The ids go along as an external table: 16 bytes each, where a text would take 32 and the engine would parse it. The
# columns get other names than the table's, because ClickHouse would take an alias for the column in WHERE.
_KNOWN = """
SELECT toString(workspace) AS owner, leftPad(lower(hex(event_key)), 32, '0') AS digits,
    toString(log_topic) AS topic, log_partition AS partition, log_offset AS offset
FROM event_positions
WHERE workspace IN {workspaces:Array(String)} AND event_key IN (SELECT event_key FROM batch_keys)
"""

_REACHED = """
SELECT toString(log_topic), log_partition, max(log_offset)
FROM (
    SELECT log_topic, log_partition, log_offset FROM event_positions
    UNION ALL
    SELECT log_topic, log_partition, log_offset FROM live_rejects
)
GROUP BY log_topic, log_partition
"""

T = TypeVar("T")


class RowsRefusedError(Exception):
    """ClickHouse names a value it cannot take."""


class LiveUnavailableError(Exception):
    """ClickHouse cannot take the batch now; the rows are not to blame."""


class LiveWriter:
    """Waits while ClickHouse is down; every insert carries the batch's token, so repeating is harmless."""

    announces = True

    def __init__(self, url: str, stop: threading.Event, on_state: Callable[[str], None] | None = None) -> None:
        self._url = url
        self._what = f"ClickHouse {re.sub(r'//[^@/]*@', '//', url)}"
        self._stop = stop
        self._on_state = on_state
        self._client: Any = None

    def write(self, batch: DecodedBatch, token: str, *, recovering: bool) -> Written:
        # Judged once: after a first attempt the store may hold rows of this very batch, and views may lack them.
        started = time.perf_counter()
        judged = self._when_available(lambda: judge(batch.events, self._known(batch.events), recovering=recovering))
        crashpoint("live.after_lookup")
        seconds = {"lookup": time.perf_counter() - started}
        return self._when_available(lambda: self._write(batch, judged, token, seconds))

    def reached(self) -> dict[TopicPartition, int]:
        rows = self._when_available(lambda: self._call(lambda client: client.query(_REACHED).result_rows))
        return {TopicPartition(topic, partition): offset for topic, partition, offset in rows}

    def _when_available(self, action: Callable[[], T]) -> T:
        return until_done(
            action,
            transient=(LiveUnavailableError, StoreRefusesError),
            stop=self._stop,
            what=self._what,
            on_state=self._on_state,
        )

    def _write(self, batch: DecodedBatch, judged: Judged, token: str, seconds: dict[str, float]) -> Written:
        started = time.perf_counter()
        poison: list[Poison] = []
        if judged.new.height:
            poison = self._insert_events(judged.new, token)
        crashpoint("live.after_events")
        refused = pl.concat([batch.rejects, poison_rejects(poison, self._what)])
        verdicts = _verdicts(judged, refused)
        if verdicts.height:
            self._insert("live_rejects", verdicts, f"{token}:rejects:{_fingerprint(verdicts)}")
        crashpoint("live.after_rejects")
        return Written(
            stored=judged.new.height - sum(item.rows.height for item in poison),
            duplicate=judged.duplicates.height,
            quarantined=refused.height,
            seen_again=judged.seen_again.height,
            seconds={**seconds, "insert": time.perf_counter() - started},
            watermarks=watermarks(batch.events),
        )

    def _insert_events(self, rows: pl.DataFrame, token: str) -> list[Poison]:
        """Insert into `events`; rows that the table itself refuses are returned.

        They are looked for in a table like it that keeps nothing and has no views. A block that holds a row which the
        table refuses was not written at all, so the rest may be written under a token of its own.
        """
        probe = f"events_probe_{token}"
        looked = False

        def write(block: pl.DataFrame, rest: str) -> None:
            self._insert("events", block.drop(_NOT_LIVE), f"{token}:without:{rest}" if rest else token)

        def look(block: pl.DataFrame) -> None:
            nonlocal looked
            looked = True
            self._call(lambda client: client.command(f"CREATE TABLE IF NOT EXISTS {probe} AS events ENGINE = Null"))
            self._insert(probe, block.drop(_NOT_LIVE), None)

        try:
            return write_isolating(rows, write, look, (RowsRefusedError,))
        finally:
            if looked:
                self._call(lambda client: client.command(f"DROP TABLE IF EXISTS {probe}"))

    def _known(self, events: pl.DataFrame) -> pl.DataFrame:
        """Fetch under which positions these ids are stored."""
        if events.is_empty():
            return pl.DataFrame(schema=KNOWN_SCHEMA)
        digits = "".join(event_keys(events))  # of ids that `decode` has proven to be UUIDs
        # Reversed as a whole, each id is little-endian, as RowBinary wants it; their order does not matter.
        keys = bytes.fromhex(digits)[::-1]
        workspaces = events["workspace"].unique().to_list()

        def ask(client: Any) -> Any:
            batch = ExternalData(file_name="batch_keys", data=keys, fmt="RowBinary", structure="event_key UInt128")
            return client.query_arrow(
                _KNOWN, parameters={"workspaces": workspaces}, external_data=batch, use_strings=True
            )

        known = pl.DataFrame(pl.from_arrow(self._call(ask)))
        return known.select(
            pl.nth(number).cast(dtype).alias(name) for number, (name, dtype) in enumerate(KNOWN_SCHEMA.items())
        )

    def _insert(self, table: str, rows: pl.DataFrame, token: str | None) -> None:
        self._call(lambda client: insert_frame(client, table, rows, token=token))

    def _call(self, action: Callable[[Any], Any]) -> Any:
        try:
            if self._client is None:
                self._client = open_clickhouse(self._url)
            return action(self._client)
        except ClickHouseError as error:
            message = " ".join(str(error).split())[:500]
            code = _CODE.search(message)
            # A block that fails in a view may be half written: nothing but the same block may follow it.
            if code and int(code[1]) in _VALUE_CODES and "while pushing to view" not in message:
                raise RowsRefusedError(message) from error
            raise LiveUnavailableError(message) from error
        except (ClickHouseUnavailableError, OSError) as error:
            raise LiveUnavailableError(str(error)) from error

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _verdicts(judged: Judged, refused: pl.DataFrame) -> pl.DataFrame:
    """Return `live_rejects` rows of everything in the batch that is not in `events`."""
    columns = ("verdict", "reason", "workspace", "network", "event_id", "receipt_id", "received_at", *POSITION)
    duplicates = judged.duplicates.with_columns(verdict=pl.lit("duplicate"), reason=pl.lit("duplicate"))
    quarantined = refused.with_columns(verdict=pl.lit("quarantined"), event_id=pl.lit(""))
    return pl.concat([duplicates.select(columns), quarantined.select(columns)]).sort(POSITION)


def _fingerprint(verdicts: pl.DataFrame) -> str:
    """Name these positions and verdicts: the same ones repeat the insert's token, others do not."""
    rows = verdicts.select(*POSITION, "verdict").hash_rows(seed=0).to_numpy().tobytes()
    return hashlib.sha256(rows).hexdigest()[:16]

"""Topics and partitions of the embedded log, remembered: neither is ever renamed or removed.

Belongs here: names to partition ids and back. Does not belong here: messages.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from resources.event_log.base import EventLogError, TopicPartition, TopicSpec
from resources.event_log.sqlite_db import Database
from resources.event_log.sqlite_messages import create_table


class Topics:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ids: dict[str, tuple[int, ...]] = {}
        self._names: dict[int, TopicPartition] = {}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Make what is missing and bring retention and compaction of existing topics to what is stated."""
        for spec in specs:
            if spec.partitions < 1:
                raise EventLogError(f"{self._database.url}: topic {spec.name!r}: {spec.partitions} partitions")
        with self._database.writing("create topics") as connection:
            for spec in specs:
                row = connection.execute(
                    "SELECT topics.id, count(*) FROM topics JOIN partitions ON topic_id = topics.id WHERE name = ?"
                    " GROUP BY topics.id",
                    (spec.name,),
                ).fetchone()
                if row is None:
                    topic_id = connection.execute(
                        "INSERT INTO topics (name, retention_ms, compacted) VALUES (?, ?, ?)",
                        (spec.name, spec.retention_ms, spec.compacted),
                    ).lastrowid
                    for partition in range(spec.partitions):
                        partition_id = connection.execute(
                            "INSERT INTO partitions (topic_id, partition) VALUES (?, ?)", (topic_id, partition)
                        ).lastrowid
                        if partition_id is not None:
                            create_table(connection, partition_id)
                    continue
                if row[1] != spec.partitions:
                    raise EventLogError(
                        f"{self._database.url}: topic {spec.name!r} has {row[1]} partitions, "
                        f"{spec.partitions} are stated"
                    )
                connection.execute(
                    "UPDATE topics SET retention_ms = ?, compacted = ? WHERE id = ?",
                    (spec.retention_ms, spec.compacted, row[0]),
                )

    def ids(self, topic: str) -> tuple[int, ...]:
        """Return the partition ids of a topic, by partition number. Raises EventLogError for an unknown topic."""
        found = self._ids.get(topic)
        if found is None:
            self._load()
            found = self._ids.get(topic)
        if found is None:
            known = ", ".join(sorted(self._ids)) or "none"
            raise EventLogError(f"{self._database.url}: unknown topic {topic!r} (known: {known})")
        return found

    def id_of(self, partition: TopicPartition) -> int:
        ids = self.ids(partition.topic)
        if not 0 <= partition.partition < len(ids):
            raise EventLogError(
                f"{self._database.url}: topic {partition.topic!r} has {len(ids)} partitions, "
                f"there is no partition {partition.partition}"
            )
        return ids[partition.partition]

    def name_of(self, partition_id: int) -> TopicPartition:
        if partition_id not in self._names:
            self._load()
        return self._names[partition_id]

    def _load(self) -> None:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT name, partition, partitions.id FROM topics JOIN partitions ON topic_id = topics.id"
                " ORDER BY topics.id, partition"
            ).fetchall()
        ids: dict[str, list[int]] = {}
        for name, _, partition_id in rows:
            ids.setdefault(name, []).append(partition_id)
        with self._lock:
            self._ids = {name: tuple(found) for name, found in ids.items()}
            self._names = {partition_id: TopicPartition(name, partition) for name, partition, partition_id in rows}

"""The SQLite log knows which of its messages are gone or not as appended, and takes them back at their offsets."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from resources.event_log.base import OffsetRange, TopicPartition, TopicSpec
from resources.event_log.sqlite import SqliteEventLog

PLACE = TopicPartition("events", 0)
ALL = [OffsetRange(*PLACE, 0, 4)]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        (table,) = database.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'log_[0-9]*'").fetchone()
        for statement in statements:
            database.execute(statement.format(table))


def test_damage_is_told_and_mended_also_in_a_file_of_the_layout_without_checksums(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(SqliteEventLog(f"sqlite:///{path}")) as log:
        log.create_topics([TopicSpec(PLACE.topic, 1)])
        log.append(PLACE.topic, [b"a", b"b"], [b"1", b"2"])
    change(path, "ALTER TABLE {} DROP COLUMN crc", "PRAGMA user_version = 1")
    with closing(SqliteEventLog(f"sqlite:///{path}")) as log:
        log.append(PLACE.topic, [b"c", b"d"], [b"3", b"4"])
        change(path, "DELETE FROM {} WHERE log_offset = 2", "UPDATE {} SET value = 'x' WHERE log_offset = 3")
        found = log.inspect(ALL)
        assert found.absent == {(*PLACE, 2)}
        assert found.damaged == {(*PLACE, 3)}
        assert found.unproven == {(*PLACE, 0), (*PLACE, 1)}
        log.restore(PLACE, [2, 3], [b"c", b"d"], [b"3", b"4"])
        assert not log.inspect(ALL).absent | log.inspect(ALL).damaged
        (read,) = log.read(ALL)
        assert list(read.values) == [b"1", b"2", b"3", b"4"]
        assert list(read.timestamps) == sorted(read.timestamps)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT log_offset, value FROM replaced_messages").fetchall() == [(3, "x")]

"""What only the embedded log has to show: its file, its clock, its fairness between processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.event_log import Commit, EventLogError, LogUnavailableError, OffsetRange, TopicSpec, open_event_log
from resources.event_log.sqlite_groups import assign

if TYPE_CHECKING:
    from conftest import Place


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:data/log.db"])
def test_a_url_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(EventLogError, match=url):
        open_event_log(url)


@pytest.mark.parametrize("url", ["redis://host", "log.db", "", "http://127.0.0.1"])
def test_unknown_schemes_are_named(url: str) -> None:
    with pytest.raises(EventLogError, match=f"event log URL '{url}': unknown scheme"):
        open_event_log(url)


def test_a_relative_path_and_a_missing_folder_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_event_log("sqlite:///deep/er/log.db").close()
    assert (tmp_path / "deep/er/log.db").is_file()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(EventLogError, match="is not a SQLite database"):
        open_event_log(f"sqlite:///{path}")
    assert path.read_bytes() == b"not a database " * 1000


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(EventLogError, match="not an event log"):
        open_event_log(f"sqlite:///{path}")


def test_a_damaged_file_is_reported_not_half_read(sqlite_place: Place) -> None:
    topic = sqlite_place.topic(1)
    sqlite_place.log.append(topic, [b"k"] * 2_000, [b"v" * 500] * 2_000)
    sqlite_place.log.close()
    path = Path(sqlite_place.url.removeprefix("sqlite:///"))
    with path.open("r+b") as file:
        file.seek(8192 * 20)
        file.write(os.urandom(8192 * 60))
    log = sqlite_place.open()
    with pytest.raises(EventLogError, match="is damaged"):
        list(log.read([OffsetRange(topic, 0, 0, 2_000)]))


def test_a_full_log_refuses_and_goes_on_when_there_is_room(sqlite_place: Place) -> None:
    topic = sqlite_place.topic(1, retention_ms=60_000)
    log = sqlite_place.open(max_bytes=3_000_000)
    told = 0
    refused = ""
    while not refused:
        try:
            told += len(log.append(topic, [b"k"] * 100, [b"v" * 1_000] * 100).offsets)
        except LogUnavailableError as error:
            refused = str(error)
    assert "append: the disk is full, or the log reached its limit (max_bytes=3000000)" in refused
    assert told > 1_000
    assert log.watermarks(topic) == {0: (0, told)}
    assert sum(map(len, log.read([OffsetRange(topic, 0, 0, told)]))) == told

    assert log.maintain(int(time.time() * 1000) + 120_000) == told
    assert list(log.append(topic, [b"k"], [b"v"]).offsets) == [told]


def test_the_answer_to_offsets_at_is_final_even_if_the_clock_is_set_back(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = sqlite_place.topic(1)
    log = sqlite_place.log
    log.append(topic, [b"k"], [b"before"])
    time.sleep(0.005)
    cut = int(time.time() * 1000)
    assert log.offsets_at(topic, cut) == {0: 1}

    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
    log.append(topic, [b"k"], [b"after"])
    assert log.offsets_at(topic, cut) == {0: 1}
    assert next(iter(log.read([OffsetRange(topic, 0, 1, 2)]))).timestamps[0] == cut


def test_a_time_to_come_closes_nothing(sqlite_place: Place) -> None:
    topic = sqlite_place.topic(1)
    later = int(time.time() * 1000) + 3_600_000
    assert sqlite_place.log.offsets_at(topic, later) == {0: 0}
    sqlite_place.log.append(topic, [b"k"], [b"v"])
    assert sqlite_place.log.offsets_at(topic, later) == {0: 1}


def test_commits_get_through_beside_a_process_that_appends_without_pause(sqlite_place: Place) -> None:
    topic = sqlite_place.topic(1)
    child = sqlite_place.child("append", topic, "busy", 1_000_000, 500)
    # Its reports are read, so that it does not stop to wait for us.
    reader = threading.Thread(target=lambda: [None for _ in child.stdout or ()])
    reader.start()
    consumer = sqlite_place.join("g", [topic])
    while not consumer.poll(100, 0.1):
        pass
    delays = []
    for number in range(40):
        started = time.monotonic()
        consumer.commit(dict.fromkeys(consumer.assignment(), Commit(number)))
        delays.append(time.monotonic() - started)
    child.kill()
    reader.join()
    assert sorted(delays)[20] < 1.0
    assert max(delays) < 20


def test_maintain_lets_appends_through(sqlite_place: Place) -> None:
    """Were the log held from the first row to the last, no append would ever come between."""
    topic = sqlite_place.topic(1, retention_ms=1)
    log = sqlite_place.log
    other = sqlite_place.open()
    other.create_topics([TopicSpec("beside", 1)])
    for _ in range(10):  # a busy machine may not run the two side by side at all
        for _ in range(10):
            log.append(topic, [b"k"] * 10_000, [b"v" * 20] * 10_000)
        removed: list[int] = []
        now = int(time.time() * 1000) + 1_000
        thread = threading.Thread(target=lambda now=now, to=removed: to.append(log.maintain(now)))
        thread.start()
        got_through = 0
        while thread.is_alive():
            other.append("beside", [b"k"], [b"v"])
            got_through += thread.is_alive()
        assert removed == [100_000]
        if got_through >= 2:
            return
    pytest.fail("no append got through while rows were removed")


def test_settings_of_a_topic_follow_what_is_stated(sqlite_place: Place) -> None:
    topic = sqlite_place.topic(1)
    sqlite_place.log.append(topic, [b"k"] * 3, [b"v"] * 3)
    now = int(time.time() * 1000)
    assert sqlite_place.log.maintain(now + 1_000_000) == 0
    sqlite_place.log.create_topics([TopicSpec(topic, 1, retention_ms=1_000)])
    assert sqlite_place.log.maintain(now + 1_000_000) == 3


@given(
    members=st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("xyz"), min_size=1), max_size=5),
    topic_of=st.dictionaries(st.integers(0, 30), st.sampled_from("xyz"), max_size=20),
    data=st.data(),
)
def test_every_wanted_partition_has_one_reader_and_equals_share_evenly(
    members: dict[str, set[str]], topic_of: dict[int, str], data: st.DataObject
) -> None:
    holders = st.one_of(st.none(), st.sampled_from("abcdef"))
    before = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(topic_of, holders)))
    after = assign(members, topic_of, before)
    for partition, topic in topic_of.items():
        readers = [member for member, topics in members.items() if topic in topics]
        assert (after.get(partition) in readers) if readers else (after.get(partition) is None)
    if len(set(map(frozenset, members.values()))) == 1:
        loads = [list(after.values()).count(member) for member in members]
        assert max(loads) - min(loads) <= 1
    assert assign(members, topic_of, after) == after


def test_a_rebalance_moves_only_what_it_must() -> None:
    topic_of = dict.fromkeys(range(16), "t")
    two = assign({"a": {"t"}, "b": {"t"}}, topic_of, {})
    three = assign({"a": {"t"}, "b": {"t"}, "c": {"t"}}, topic_of, two)
    assert sum(two[partition] != three[partition] for partition in topic_of) == 5
    back = assign({"a": {"t"}, "b": {"t"}}, topic_of, three)
    assert all(back[partition] == three[partition] for partition in topic_of if three[partition] != "c")

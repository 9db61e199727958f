"""Consumer groups as rows: who is a member, who should have and who has each partition, what is committed.

Belongs here: the statements of membership and commits; each function runs inside a transaction of its caller.
Does not belong here: threads, waiting, messages.

A partition has a *target*, the member that should have it, and an *owner*, the session that has it. Members move the
owner towards the target themselves: the old one lets go in its `poll`, the new one takes what nobody owns. An owner
that stops sending heartbeats is removed by any other member. A commit is accepted from the owner only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resources.event_log.base import Commit


@dataclass(frozen=True, slots=True)
class Membership:
    """What one member finds out about itself: partition ids it owns, and those it should own."""

    session: str | None
    owned: frozenset[int]
    to_revoke: frozenset[int]
    to_acquire: frozenset[int]


def join(
    connection: sqlite3.Connection, group: str, member: str, session: str, *, topics: Sequence[str], now: int
) -> None:
    """Enter the group. A session of the same member that was still there loses its partitions at once."""
    connection.execute(
        "UPDATE group_assignments SET owner = NULL WHERE group_name = ? AND owner ="
        " (SELECT session FROM group_members WHERE group_name = ? AND member_id = ?)",
        (group, group, member),
    )
    connection.execute(
        "INSERT INTO group_members VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET session = excluded.session, topics = excluded.topics, heartbeat_ms = excluded.heartbeat_ms",
        (group, member, session, json.dumps(sorted(set(topics))), now),
    )
    _rebalance(connection, group)


def leave(connection: sqlite3.Connection, group: str, session: str) -> None:
    """Leave the group; harmless when the session was removed before."""
    _remove(connection, group, [session])


def expire(connection: sqlite3.Connection, group: str, now: int, timeout_ms: int) -> list[str]:
    """Remove members without a heartbeat for `timeout_ms`; returns their ids."""
    gone = _stale(connection, group, now, timeout_ms)
    _remove(connection, group, [session for _, session in gone])
    return [member for member, _ in gone]


def has_stale(connection: sqlite3.Connection, group: str, now: int, timeout_ms: int) -> bool:
    return bool(_stale(connection, group, now, timeout_ms))


def heartbeat(connection: sqlite3.Connection, group: str, session: str, now: int) -> None:
    connection.execute(
        "UPDATE group_members SET heartbeat_ms = ? WHERE group_name = ? AND session = ?", (now, group, session)
    )


def membership(connection: sqlite3.Connection, group: str, member: str, session: str) -> Membership:
    row = connection.execute(
        "SELECT session FROM group_members WHERE group_name = ? AND member_id = ?", (group, member)
    ).fetchone()
    owned, revoke, acquire = set(), set(), set()
    for partition_id, target, owner in connection.execute(
        "SELECT partition_id, target, owner FROM group_assignments WHERE group_name = ? AND (owner = ? OR target = ?)",
        (group, session, member),
    ):
        if owner == session:
            owned.add(partition_id)
            if target != member:
                revoke.add(partition_id)
        elif owner is None:
            acquire.add(partition_id)
    return Membership(row[0] if row else None, frozenset(owned), frozenset(revoke), frozenset(acquire))


def release(connection: sqlite3.Connection, group: str, session: str, partition_ids: Iterable[int]) -> None:
    connection.executemany(
        "UPDATE group_assignments SET owner = NULL WHERE group_name = ? AND owner = ? AND partition_id = ?",
        [(group, session, partition_id) for partition_id in partition_ids],
    )


def acquire(connection: sqlite3.Connection, group: str, member: str, session: str) -> frozenset[int]:
    """Take what this member should have and nobody owns; nothing when the session is no longer a member."""
    rows = connection.execute(
        "UPDATE group_assignments SET owner = ? WHERE group_name = ? AND target = ? AND owner IS NULL AND EXISTS"
        " (SELECT 1 FROM group_members WHERE group_name = ? AND member_id = ? AND session = ?) RETURNING partition_id",
        (session, group, member, group, member, session),
    ).fetchall()
    return frozenset(row[0] for row in rows)


def not_owned(connection: sqlite3.Connection, group: str, session: str, partition_ids: Iterable[int]) -> set[int]:
    owned = connection.execute(
        "SELECT partition_id FROM group_assignments WHERE group_name = ? AND owner = ?", (group, session)
    ).fetchall()
    return set(partition_ids) - {row[0] for row in owned}


def write_commits(connection: sqlite3.Connection, group: str, commits: Mapping[int, Commit]) -> None:
    connection.executemany(
        "INSERT INTO group_commits VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET next_offset = excluded.next_offset, metadata = excluded.metadata",
        [(group, partition_id, commit.offset, commit.metadata) for partition_id, commit in commits.items()],
    )


def read_commits(connection: sqlite3.Connection, group: str) -> dict[int, Commit]:
    rows = connection.execute(
        "SELECT partition_id, next_offset, metadata FROM group_commits WHERE group_name = ?", (group,)
    )
    return {partition_id: Commit(offset, metadata) for partition_id, offset, metadata in rows}


def _stale(connection: sqlite3.Connection, group: str, now: int, timeout_ms: int) -> list[tuple[str, str]]:
    # A heartbeat from the future was sent before this machine restarted: the clock began again.
    rows: list[tuple[str, str]] = connection.execute(
        "SELECT member_id, session FROM group_members WHERE group_name = ? AND NOT heartbeat_ms BETWEEN ? AND ?",
        (group, now - timeout_ms, now + timeout_ms),
    ).fetchall()
    return rows


def _remove(connection: sqlite3.Connection, group: str, sessions: Sequence[str]) -> None:
    removed = 0
    for session in sessions:
        removed += connection.execute(
            "DELETE FROM group_members WHERE group_name = ? AND session = ?", (group, session)
        ).rowcount
        connection.execute(
            "UPDATE group_assignments SET owner = NULL WHERE group_name = ? AND owner = ?", (group, session)
        )
    if removed:
        _rebalance(connection, group)


def _rebalance(connection: sqlite3.Connection, group: str) -> None:
    """Give every partition a target, moving as few as possible, and begin a new generation."""
    topics_of: dict[str, set[str]] = {
        member: set(json.loads(topics))
        for member, topics in connection.execute(
            "SELECT member_id, topics FROM group_members WHERE group_name = ? ORDER BY member_id", (group,)
        )
    }
    topic_of: dict[int, str] = dict(
        connection.execute(
            "SELECT partitions.id, name FROM partitions JOIN topics ON topics.id = topic_id ORDER BY partitions.id"
        ).fetchall()
    )
    before: dict[int, str | None] = dict(
        connection.execute(
            "SELECT partition_id, target FROM group_assignments WHERE group_name = ?", (group,)
        ).fetchall()
    )
    after = assign(topics_of, topic_of, before)
    connection.executemany(
        "INSERT INTO group_assignments VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET target = excluded.target",
        [(group, partition_id, target) for partition_id, target in after.items()],
    )
    connection.execute(
        "INSERT INTO group_generations VALUES (?, 1) ON CONFLICT DO UPDATE SET generation = generation + 1", (group,)
    )


def assign(
    topics_of: Mapping[str, set[str]], topic_of: Mapping[int, str], before: Mapping[int, str | None]
) -> dict[int, str | None]:
    """Return the target of every partition: loads differ by one at most, and what can stay stays.

    Args:
        topics_of: Per member the topics it reads.
        topic_of: Per partition id its topic.
        before: The targets until now.
    """
    load = dict.fromkeys(topics_of, 0)
    after: dict[int, str | None] = {}
    for partition_id, topic in topic_of.items():
        keeper = before.get(partition_id)
        if keeper is not None and topic in topics_of.get(keeper, ()):
            after[partition_id] = keeper
            load[keeper] += 1
        elif partition_id in before or any(topic in topics for topics in topics_of.values()):
            after[partition_id] = None
    for partition_id in [partition_id for partition_id, target in after.items() if target is None]:
        eligible = [member for member, topics in topics_of.items() if topic_of[partition_id] in topics]
        if eligible:
            member = min(eligible, key=lambda name: (load[name], name))
            after[partition_id] = member
            load[member] += 1
    moved = True
    while moved:
        moved = False
        for partition_id, holder in after.items():
            if holder is None:
                continue
            eligible = [member for member, topics in topics_of.items() if topic_of[partition_id] in topics]
            lightest = min(eligible, key=lambda name: (load[name], name))
            if load[holder] - load[lightest] > 1:
                after[partition_id] = lightest
                load[holder] -= 1
                load[lightest] += 1
                moved = True
    return after

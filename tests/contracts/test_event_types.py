"""The vocabulary: every type in one topic, keyed so that what belongs together stays in order."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from contracts import wire
from contracts.envelope import EVENT_SCHEMA
from contracts.event_types import EVENT_TOPICS, EVENT_TYPES, QUARANTINE, TOPIC_OF_TYPE, TOPICS

AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(**values: object) -> dict[str, object]:
    texts = {name: "" for name, dtype in EVENT_SCHEMA.items() if dtype == pl.String}
    times = dict.fromkeys(("occurred_at", "received_at", "event_time"), AT)
    return {**texts, **times, "topics": [], "schema_version": 2, "workspace": "demo", "event_id": "e", **values}


def frame(*events: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(events), schema=EVENT_SCHEMA)


def test_topics_are_the_three_kinds_of_events_and_quarantine() -> None:
    assert TOPICS == ("user-events", "content-events", "ad-events", "quarantine")
    assert QUARANTINE not in EVENT_TOPICS


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_type_is_routed_to_exactly_one_topic(name: str) -> None:
    kind = EVENT_TYPES[name]
    encoded = wire.encode(frame(event(type=name, actor="ann", object="post-1")))
    assert list(encoded) == [TOPIC_OF_TYPE[name]] == [kind.topic]
    assert kind.topic == f"{kind.family}-events"
    assert kind.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "actor", "thing", "key"),
    [
        ("user.followed", "ann", "bob", b"demo/ann"),
        ("page.viewed", "ann", "/home", b"demo/ann"),
        ("ad.clicked", "ann", "ad-1", b"demo/ann"),
        ("share.created", "ann", "post-1", b"demo/post-1"),
        ("share.created", "ann", "", b"demo/ann"),
        ("share.created", "", "", b"demo/e"),
        ("reaction.added", "ann", "post/1 é", "demo/post/1 é".encode()),
    ],
)
def test_users_and_ads_are_keyed_by_actor_and_content_by_object(name: str, actor: str, thing: str, key: bytes) -> None:
    ((keys, _),) = wire.encode(frame(event(type=name, actor=actor, object=thing))).values()
    assert keys == [key]


def test_order_within_a_topic_is_the_order_of_the_rows() -> None:
    names = ["ad.clicked", "post.created", "ad.impression", "user.followed", "post.edited"]
    encoded = wire.encode(frame(*(event(type=name, event_id=str(at)) for at, name in enumerate(names))))
    decoded = {
        topic: wire.decode(values, topic, 0, range(len(values))).events["event_id"].to_list()
        for topic, (_, values) in encoded.items()
    }
    assert decoded == {"ad-events": ["0", "2"], "content-events": ["1", "4"], "user-events": ["3"]}


def test_a_type_without_topic_is_never_encoded() -> None:
    with pytest.raises(ValueError, match=r"post\.exploded"):
        wire.encode(frame(event(type="post.created"), event(type="post.exploded")))
    assert wire.encode(frame()) == {}

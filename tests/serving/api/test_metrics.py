"""Metrics over HTTP: the same answers as the query layer's, byte for byte, with what a client can rely on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from clickhouse_connect.driver.client import Client

from contracts.metric_catalogue import catalogue
from serving.query import MetricQuery, answer

RANGE = "from=2026-03-02&to=2026-03-03"
START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (f"events?{RANGE}", {}),
        (f"events?{RANGE}&by=network&by=type&grain=day", {"by": ("network", "type"), "grain": "day"}),
        (f"active_actors?{RANGE}&by=network&grain=total", {"by": ("network",), "grain": "total"}),
        (f"conversation_rate?{RANGE}&tz=Asia/Kolkata&grain=day", {"tz": "Asia/Kolkata", "grain": "day"}),
        (
            f"engagements?{RANGE}&by=topic&grain=total&order=-value&where=network=alpha",
            {"by": ("topic",), "grain": "total", "order": "-value", "filters": {"network": ["alpha"]}},
        ),
        (f"events?{RANGE}&grain=hour&limit=3&order=-value", {"limit": 3, "order": "-value"}),
    ],
)
def test_a_body_is_that_of_the_query_layer(service: Any, store: Client, path: str, asked: dict[str, Any]) -> None:
    zone = asked.get("tz", "UTC")
    bounds = {"start": START, "end": END}
    if zone != "UTC":
        bounds = {"start": datetime(2026, 3, 2), "end": datetime(2026, 3, 3)}  # noqa: DTZ001 # local to the zone
    given = service.get(f"/v1/metrics/{path}")
    assert given.status_code == 200, given.text
    metric = path.partition("?")[0]
    assert given.content == answer(store, MetricQuery(metric, workspace="acme", **bounds, **asked)).body()
    assert {"as_of", "complete_through", "data_version"} <= given.json().keys()
    assert all("complete" in row for row in given.json()["rows"])


def test_every_metric_of_the_catalogue_is_served(service: Any) -> None:
    listed = service.get("/v1/metrics").json()
    assert [entry["id"] for entry in listed] == list(catalogue())
    for entry in listed:
        given = service.get(f"/v1/metrics/{entry['id']}?{RANGE}&grain=day&by={entry['dimensions'][0]}")
        assert given.status_code == 200, given.text


def test_the_same_question_twice_is_the_same_bytes_and_then_not_modified(service: Any) -> None:
    path = f"/v1/metrics/events?{RANGE}&by=type"
    first, second = service.get(path), service.get(path)
    assert first.content == second.content
    assert first.headers["ETag"] == second.headers["ETag"]
    for known in (first.headers["ETag"], f'"other", W/{first.headers["ETag"]}', "*"):
        again = service.get(path, If_None_Match=known)
        assert (again.status_code, again.content) == (304, b"")
    assert service.get(path, If_None_Match='"other"').status_code == 200
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.headers["Vary"] == "Authorization"


def test_a_range_left_open_ends_with_the_bucket_of_now(service: Any) -> None:
    given = service.get("/v1/metrics/events?grain=day").json()
    end = datetime.fromisoformat(given["end"])
    assert end > datetime.now(UTC)
    assert len(given["rows"]) == 30
    assert service.get("/v1/metrics/events?grain=total").json()["rows"][0]["complete"] is False


@pytest.mark.parametrize("order", ["bucket", "-value"])
def test_pages_together_are_the_whole_answer(service: Any, order: str) -> None:
    path = f"/v1/metrics/events?{RANGE}&by=object&by=type&grain=hour&order={order}"
    whole = service.get(f"{path}&limit=5000")
    assert "Link" not in whole.headers
    rows, url, pages = [], f"{path}&limit=150", 0
    while url:
        page = service.get(url)
        assert page.status_code == 200, page.text
        rows += page.json()["rows"]
        pages += 1
        url = page.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert pages > 2
    assert rows == whole.json()["rows"]


def test_a_cursor_of_another_question_or_a_damaged_one_is_refused(service: Any) -> None:
    path = f"/v1/metrics/events?{RANGE}&by=object&limit=2"
    link = service.get(path).headers["Link"]
    cursor = link.partition("cursor=")[2].partition("&")[0].partition(">")[0]
    wrong = [
        f"/v1/metrics/events?{RANGE}&by=type&limit=2&cursor={cursor}",
        f"/v1/metrics/posts?{RANGE}&by=object&limit=2&cursor={cursor}",
        f"/v1/metrics/events?from=2026-03-01&to=2026-03-03&by=object&cursor={cursor}",
        f"/v1/metrics/events?{RANGE}&cursor={cursor}",
        *(f"{path}&cursor={bad}" for bad in (cursor[:-3], cursor + "AA", "x", "%00", "é", "", "A" * 5000)),
    ]
    for url in wrong:
        given = service.get(url)
        assert (given.status_code, given.json()["type"]) == (400, "urn:tally:problem:bad-cursor"), url
    stolen = service.get(f"{path}&cursor={cursor}", workspace="globex")
    assert stolen.status_code == 400


@pytest.mark.parametrize(
    ("query", "status", "parameter", "value"),
    [
        ("events?grain=fortnight", 400, "grain", "fortnight"),
        ("events?tz=Mars/Base", 400, "tz", "Mars/Base"),
        ("events?by=colour", 400, "by, where", "colour"),
        ("events?where=colour=red", 400, "by, where", "colour"),
        ("events?where=red", 400, "where", "red"),
        ("events?from=yesterday", 400, "from", "yesterday"),
        ("events?to=9999-12-31", 400, "to", "9999-12-31"),
        ("events?from=0001-01-01T00:00%2B14:00", 400, "from", "0001-01-01T00:00+14:00"),
        ("events?from=2026-03-03&to=2026-03-02", 400, "from, to", None),
        ("events?from=1990-01-01&to=2026-03-02&grain=minute", 400, "from, to", None),
        ("events?limit=0", 400, "limit", "0"),
        ("events?limit=many", 400, "limit", "many"),
        ("events?limit=99999999999999999999999", 400, "limit", "99999999999999999999999"),
        ("events?order=random", 400, "order", "random"),
        ("events?as_of=2099-01-01", 400, "as_of", "2099-01-01"),
        ("events?by=type&by=type", 400, "by", None),
        ("events?form=2026-03-02", 400, "form", None),
        ("likes_of_my_cat", 404, "id", "likes_of_my_cat"),
        ("events/explain?at=never", 400, "at", "never"),
        ("events/explain", 400, "at", None),
        ("events/explain?at=2026-03-02&grain=total", 400, "grain", "total"),
        ("sessions?grain=minute&from=2026-03-02&to=2026-03-02T01:00", 400, "by", None),
    ],
)
def test_a_refusal_names_the_parameter_and_the_value(
    service: Any, query: str, status: int, parameter: str, value: str | None
) -> None:
    given = service.get(f"/v1/metrics/{query}")
    assert given.status_code == status, given.text
    assert given.headers["Content-Type"] == "application/problem+json"
    document = given.json()
    assert document["status"] == status
    if parameter != "by" or value:
        assert document["parameter"] == parameter
    assert document.get("value") == value


_NASTY = (
    "'", '"', "\\", "';DROP TABLE events;--", "' OR 1=1 --", "{tz:String}", "{{ 7*7 }}", "${jndi:ldap://x}", "%",
    "\x00", "\n", "\u202e", "émoji 🎉", "a" * 600, "a" * 5000, "-1", "1e999", "NaN", "../../etc/passwd", "<script>",
    "\ud7ff", "toString(1))", "system.users", "\u2028", "null", "[]", "{}",
)  # fmt: skip


def test_no_text_in_any_place_is_an_error_of_ours(service: Any) -> None:
    paths = [
        "metrics/events?grain=", "metrics/events?tz=", "metrics/events?by=", "metrics/events?where=",
        f"metrics/events?{RANGE}&where=object=", f"metrics/events?{RANGE}&by=topic&where=topic=",
        "metrics/events?from=", "metrics/events?to=", "metrics/events?as_of=", "metrics/events?limit=",
        "metrics/events?order=", "metrics/events?by=type&cursor=", "metrics/events/explain?at=", "metrics/",
        "metrics/events/explain?at=2026-03-02&where=object=", "trends?network=", "trends?window=", "trends?as_of=",
        "trends?limit=", "metrics/events?where=workspace=", "",
    ]  # fmt: skip
    for path in paths:
        for text in _NASTY:
            given = service.get(f"/v1/{path}{quote(text, safe='')}")
            assert given.status_code < 500, (path, text, given.text)
            if given.status_code >= 400:
                assert given.headers["Content-Type"] == "application/problem+json", (path, text)
                assert len(given.content) < 10_000


def test_a_filter_takes_its_text_literally(service: Any, store: Client) -> None:
    topic = "it's"
    given = service.get(f"/v1/metrics/events?{RANGE}&grain=total&by=topic&limit=1000&where=topic={quote(topic)}")
    expected = MetricQuery("events", ("topic",), START, END, "total", workspace="acme", filters={"topic": [topic]})
    assert given.content == answer(store, expected).body()
    assert given.json()["rows"][0]["value"] > 0

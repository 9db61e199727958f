"""GraphQL: the same numbers as REST, a schema that is a promise, and requests that ask too much."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from contracts.metric_catalogue import catalogue
from serving.api.graphql import MOST_ALIASES, schema

SNAPSHOT = Path(__file__).with_name("schema_snapshot.graphql")
RANGE = 'from: "2026-03-02", to: "2026-03-03"'
ROWS = "rows { bucket bucketEnd group { dimension member } value complete }"


def ask(service: Any, query: str, role: str = "viewer", workspace: str = "acme", **variables: object) -> Any:
    sent = {"Authorization": f"Bearer {service.keys[workspace, role]}"}
    return service.http.post("/graphql", json={"query": query, "variables": variables}, headers=sent)


def test_the_schema_is_the_one_published() -> None:
    # A new metric or dimension is a new name of the catalogue, not another schema.
    text = re.sub(r"(enum (?:MetricId|Dimension) \{)[^}]*", r"\1 generated from the catalogue ", schema.as_str()) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")


def test_an_answer_is_that_of_rest(service: Any) -> None:
    query = f"query Q($by: [Dimension!]) {{ metric(id: conversation_rate, {RANGE}, grain: day, by: $by) \
        {{ asOf completeThrough dataVersion version \
        rows {{ bucket group {{ member }} value numerator denominator complete }} }} }}"
    given = ask(service, query, by=["network", "type"])
    assert given.status_code == 200, given.text
    found = given.json()["data"]["metric"]
    rest = service.get(
        "/v1/metrics/conversation_rate?from=2026-03-02&to=2026-03-03&grain=day&by=network&by=type", "viewer"
    )
    document = rest.json()
    assert (found["asOf"], found["completeThrough"], found["dataVersion"], int(found["version"])) == (
        document["as_of"], document["complete_through"], document["data_version"], int(rest.headers["Tally-Version"]),
    )  # fmt: skip
    assert [
        {
            **{name: row[name] for name in ("bucket", "value", "numerator", "denominator", "complete")},
            "groups": [each["member"] for each in row["group"]],
        }
        for row in found["rows"]
    ] == [
        {
            **{name: row[name] for name in ("bucket", "value", "numerator", "denominator", "complete")},
            "groups": [row["network"], row["type"]],
        }
        for row in document["rows"]
    ]


def test_the_catalogue_trends_and_explanations(service: Any) -> None:
    listed = ask(
        service, "{ metrics { id dimensions formula } trends(window: ONE_MINUTE) { known entries { topic } } }"
    )
    assert [entry["id"] for entry in listed.json()["data"]["metrics"]] == list(catalogue())
    assert listed.json()["data"]["trends"] == {"known": False, "entries": []}
    query = '{ explain(id: events, at: "2026-03-02T03:30") { value proven sql seals } }'
    explained = ask(service, query, "analyst").json()["data"]["explain"]
    assert explained["proven"] is True
    assert explained["seals"]
    refused = ask(service, query, "viewer")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["extensions"]["type"] == "urn:tally:problem:not-allowed"


def test_pages_go_on_by_cursor(service: Any) -> None:
    query = f"query Q($cursor: String) {{ metric(id: events, {RANGE}, by: [object], limit: 20, cursor: $cursor) \
        {{ nextCursor {ROWS} }} }}"
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        page = ask(service, query, cursor=cursor).json()["data"]["metric"]
        rows += page["rows"]
        cursor = page["nextCursor"]
        if not cursor:
            break
    whole = ask(service, f"{{ metric(id: events, {RANGE}, by: [object]) {{ {ROWS} }} }}").json()["data"]["metric"]
    assert len(rows) > 40
    assert rows == whole["rows"]


def test_choosing_fields_saves_bytes(service: Any) -> None:
    lean = ask(service, f"{{ metric(id: events, {RANGE}) {{ rows {{ value }} }} }}")
    full = ask(service, f"{{ metric(id: events, {RANGE}) {{ {ROWS} }} }}")
    assert len(lean.content) * 4 < len(full.content)


def test_a_hundred_alike_are_one_question_and_a_list_of_members_is_one_too(service: Any) -> None:
    answers = service.http.app.state.api.telemetry.answers
    before = answers["store"] + answers["shared"]
    aliases = " ".join(f"a{n}: metric(id: comments, {RANGE}, grain: week) {{ rows {{ value }} }}" for n in range(100))
    given = ask(service, f"{{ {aliases} }}")
    assert given.status_code == 200, given.text
    assert len({str(each) for each in given.json()["data"].values()}) == 1
    assert len(given.json()["data"]) == 100
    assert answers["store"] + answers["shared"] == before + 1

    statements = service.statements.texts
    seen = len(statements)
    members = [f"post-{n}" for n in range(100)]
    query = f"query Q($v: [String!]!) {{ metric(id: shares, {RANGE}, grain: day, by: [object], \
        where: [{{dimension: object, values: $v}}]) {{ rows {{ value }} }} }}"
    assert ask(service, query, v=members).status_code == 200
    asked = [text for text in statements[seen:] if "AS counted" not in text]  # how far the store is is asked for all
    assert len(asked) <= 2


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("{ metrics { id", "Syntax Error"),
        ("{ nothing }", "Cannot query field 'nothing'"),
        ("{ metric(id: likes_of_my_cat) { tz } }", "likes_of_my_cat"),
        ("{ metric(id: events, grain: fortnight) { tz } }", "fortnight"),
        ("{" * 3000, "deeper"),
        ("{ a" * 3000, "deeper"),
        ("{ metric(id: events, by: " + "[" * 3000, "nested deeper"),
        ("{ " + " ".join(f"a{n}: metrics {{ id }}" for n in range(MOST_ALIASES + 1)) + " }", "aliases"),
        ("{ " + "metrics { id } " * 4000 + "}", "tokens"),
        ("{ " + " ".join(f'a{n}: explain(id: events, at: "2026-03-02") {{ sql }}' for n in range(16)) + " }", "costs"),
        ("fragment A on Query { ...B } fragment B on Query { ...A } { ...A }", "Cannot spread fragment"),
        ("mutation { metrics { id } }", "not configured"),
        ("", "query"),
        ("\x00", "Syntax Error"),
    ],
    ids=range(14),
)
def test_a_request_that_cannot_be_answered_is_refused_before_anything_is_asked(
    service: Any, query: str, told: str
) -> None:
    before = len(service.statements.texts)
    given = ask(service, query, "analyst")
    assert given.status_code == 400, given.text
    assert told in given.text
    asked = [text for text in service.statements.texts[before:] if "AS counted" not in text]
    assert asked == []


def test_a_refusal_is_the_problem_of_rest(service: Any) -> None:
    given = ask(service, '{ metric(id: events, tz: "Mars/Base") { tz } }')
    error = given.json()["errors"][0]
    rest = service.get("/v1/metrics/events?tz=Mars/Base", "viewer").json()
    assert error["extensions"] == rest
    assert error["path"] == ["metric"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"query": 1}', b'{"query": "{a}", "variables": []}', b"\xff\xfe"])
def test_a_body_that_is_no_request_is_refused(service: Any, body: bytes) -> None:
    sent = {"Authorization": f"Bearer {service.keys['acme', 'viewer']}"}
    given = service.http.post("/graphql", content=body, headers=sent)
    assert (given.status_code, given.json()["parameter"]) == (400, "body")
    large = service.http.post("/graphql", content=b" " * 300_000, headers=sent)
    assert (large.status_code, large.json()["type"]) == (413, "urn:tally:problem:body-too-large")


def test_a_deep_document_of_variables_is_no_error_of_ours(service: Any) -> None:
    sent = {"Authorization": f"Bearer {service.keys['acme', 'viewer']}"}
    body = b'{"query": "query Q($by: [Dimension!]) { metric(id: events, by: $by) { tz } }", "variables": {"by": %s%s}}'
    for depth in (10, 200, 50_000):
        given = service.http.post("/graphql", content=body % (b"[" * depth, b"]" * depth), headers=sent)
        assert given.status_code == 400, given.text


def test_another_workspace_is_nowhere_to_be_seen(service: Any) -> None:
    where = 'where: [{dimension: workspace, values: ["%s"]}]'
    refused = [
        ask(service, f"{{ metric(id: events, {RANGE}, {where % name}) {{ tz }} }}") for name in ("globex", "nobody")
    ]
    assert refused[0].content == refused[1].content
    assert refused[0].json()["errors"][0]["extensions"]["status"] == 403
    grouped = ask(service, f"{{ metric(id: events, {RANGE}, grain: total, by: [workspace]) {{ {ROWS} }} }}")
    assert {row["group"][0]["member"] for row in grouped.json()["data"]["metric"]["rows"]} == {"acme"}

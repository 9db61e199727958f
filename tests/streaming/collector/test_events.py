"""POST /v1/events: 200 names every row's verdict and every accepted row is in the log by then."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid

import pytest
import uuid_utils
import zstandard

from contracts.event_types import TOPICS
from resources.event_log.base import OffsetRange


@pytest.fixture
def in_log(event_log):
    def count():
        return sum(high - low for topic in TOPICS for low, high in event_log.watermarks(topic).values())

    return count


def test_six_events_are_all_accounted_for(collector, row, in_log):
    answer = collector().post("/v1/events", json=[row(), row(), row(type="nonsense"), row(actor=None), row(), "text"])
    body = answer.json()
    assert answer.status_code == 200
    assert (body["accepted"], body["quarantined"], body["duplicates_in_request"]) == (3, 3, 0)
    statuses = [verdict["status"] for verdict in body["verdicts"]]
    assert statuses == ["accepted", "accepted", "quarantined", "quarantined", "accepted", "quarantined"]
    assert [verdict["row"] for verdict in body["verdicts"]] == list(range(6))
    assert body["verdicts"][3]["reason"] == "missing_field"
    assert "actor" in body["verdicts"][3]["detail"]
    assert in_log() == 6


def test_every_way_to_send_two_rows(collector, row):
    client = collector()

    def lines(end=b"\n"):
        return end.join(json.dumps(row()).encode() for _ in range(2))

    def array(**options):
        return json.dumps([row(), row()], **options).encode()

    members = b"".join(gzip.compress(json.dumps(row()).encode() + b"\n") for _ in range(2))
    ndjson = {"Content-Type": "application/x-ndjson"}
    for content, headers in [
        (array(), {}),
        (array(indent=1), {"Content-Type": "application/json; charset=utf-8"}),
        (b"\xef\xbb\xbf" + array(), {}),
        (lines(), ndjson),
        (lines(b"\r\n"), {}),
        (gzip.compress(array()), {"Content-Encoding": "gzip"}),
        (members, {"Content-Encoding": "gzip", **ndjson}),
        (zstandard.compress(array()), {"Content-Encoding": "zstd"}),
        (zstandard.compress(lines() + b"\n") + zstandard.compress(b""), {"Content-Encoding": "zstd"}),
    ]:
        answer = client.post("/v1/events", content=content, headers=headers)
        assert answer.status_code == 200, (answer.text, content[:80], headers)
        assert answer.json()["accepted"] == 2, (content[:80], headers)


def test_a_single_object_may_span_lines(collector, row):
    answer = collector().post("/v1/events", content=json.dumps(row(), indent=2).encode())
    assert answer.json()["accepted"] == 1


def test_a_broken_line_costs_only_itself(collector, row):
    content = json.dumps(row()).encode() + b"\n{broken\n" + json.dumps(row()).encode()
    answer = collector().post("/v1/events", content=content)
    assert [verdict["status"] for verdict in answer.json()["verdicts"]] == ["accepted", "quarantined", "accepted"]


def test_a_broken_element_costs_only_itself(collector, row, in_log):
    broken = {
        rb'{"a":"\ud800"}': "invalid_unicode",
        b'{"a":NaN}': "not_json",
        b"[" * 3000 + b"]" * 3000: "too_deep",
        b'{"a":"\xff"}': "invalid_utf8",
        b"1e999": "not_json",
        b'{"a":"' + b"x" * (1 << 20) + b'"}': "row_too_large",
    }
    content = b"[" + b",".join([json.dumps(row()).encode(), *broken, json.dumps(row()).encode()]) + b"]"
    answer = collector().post("/v1/events", content=content)
    assert answer.status_code == 200, answer.text
    verdicts = answer.json()["verdicts"]
    assert [verdict["status"] for verdict in verdicts] == ["accepted", *["quarantined"] * len(broken), "accepted"]
    assert [verdict["reason"] for verdict in verdicts[1:-1]] == list(broken.values())
    assert in_log() == len(broken) + 2


def test_an_array_that_is_broken_itself_is_refused_and_names_the_byte(collector, row, in_log):
    whole = json.dumps(row()).encode()
    answer = collector().post("/v1/events", content=b"[" + whole + b"," + whole[:-1])
    assert answer.status_code == 400
    assert f"at byte {2 * len(whole) + 1}" in answer.json()["message"]
    assert in_log() == 0


def test_the_same_id_twice_is_named(collector, row, in_log):
    same = row()
    body = collector().post("/v1/events", json=[same, same]).json()
    assert body["duplicates_in_request"] == 1
    assert body["verdicts"][1]["status"] == "duplicate"
    assert in_log() == 2


def test_verdicts_can_be_chosen(collector, row):
    client = collector()
    rows = [row(), None, row(type="nonsense")]
    assert len(client.post("/v1/events?verdicts=none", json=rows).json()["verdicts"]) == 0
    assert len(client.post("/v1/events?verdicts=errors", json=rows).json()["verdicts"]) == 2
    many = [row() for _ in range(1001)]
    assert client.post("/v1/events", json=many).json()["verdicts"] == []
    assert len(client.post("/v1/events?verdicts=all", json=many).json()["verdicts"]) == 1001
    assert client.post("/v1/events?verdicts=some", json=rows).status_code == 400


def test_another_network_reads_other_rows(collector):
    edit = {"time": "2015-09-12T00:46:58.771Z", "channel": "#en.wikipedia", "page": "Ada", "user": "bob", "delta": 3}
    client = collector()
    for answer in (
        client.post("/v1/events?network=wikipedia", json=[edit]),
        client.post("/v1/events", json=[edit], headers={"X-Network": "wikipedia"}),
    ):
        assert answer.json()["accepted"] == 1, answer.text
    assert client.post("/v1/events", json=[edit]).json()["quarantined"] == 1
    unknown = client.post("/v1/events?network=../../etc/passwd", json=[edit])
    assert unknown.status_code == 400
    assert "wikipedia" in unknown.json()["message"]
    by_place = client.post("/v1/events?network=talkingdata", json=[edit])
    assert by_place.json()["error"] == "file_mapping"


def test_the_workspace_is_the_keys(collector, event_log, row):
    client = collector()
    answers = [
        client.post("/v1/events", json=[row()], headers={"Authorization": "Bearer second"}),
        client.post("/v1/events", json=[row()], headers={"X-Write-Key": "second"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    places = [
        OffsetRange("content-events", partition, *bounds)
        for partition, bounds in event_log.watermarks("content-events").items()
    ]
    workspaces = {json.loads(value)["workspace"] for chunk in event_log.read(places) for value in chunk.values}
    assert workspaces == {"other"}


def test_without_a_known_key_nothing_is_taken(collector, row, in_log):
    client = collector()
    for headers in ({"X-Write-Key": ""}, {"X-Write-Key": "wrong"}, {"Authorization": "Bearer nope"}):
        answer = client.post("/v1/events", json=[row()], headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "nope" not in answer.text
    assert in_log() == 0


def test_a_receipt_tells_what_became_of_the_rows(collector, row, work):
    client = collector()
    same = row()
    receipt = client.post("/v1/events", json=[same, same, row(type="nonsense")]).json()["receipt_id"]
    before = client.get(f"/v1/receipts/{receipt}").json()
    assert (before["settled"], before["processed"], before["on_the_way"]) == (False, 0, 3)
    assert {verdict["status"] for verdict in before["verdicts"]} == {"on_the_way"}
    work("raw")
    body = client.get(f"/v1/receipts/{receipt}").json()
    assert {name: body[name] for name in ("stored", "duplicate", "quarantined", "processed")} == {
        "stored": 1,
        "duplicate": 1,
        "quarantined": 1,
        "processed": 3,
    }
    assert body["reasons"] == {"unknown_type": 1}
    assert (body["settled"], body["on_the_way"], body["verdicts_left_out"]) == (True, 0, 0)
    verdicts = {verdict["status"]: verdict for verdict in body["verdicts"]}
    assert verdicts["stored"]["event_id"] == verdicts["duplicate"]["event_id"] == same["event_id"]
    assert verdicts["stored"]["position"] != verdicts["duplicate"]["position"]
    refused = verdicts["quarantined"]
    assert (refused["reason"], refused["place"]) == ("unknown_type", "item 3 of the request")
    assert {verdict["position"] for verdict in before["verdicts"]} == {v["position"] for v in body["verdicts"]}
    assert client.get(f"/v1/receipts/{receipt}", headers={"X-Write-Key": "wrong"}).status_code == 401


def test_a_receipt_is_its_workspaces_own(collector, row, work):
    """Who holds another tenant's receipt learns no more than that it is not known here."""
    client = collector()
    receipt = client.post("/v1/events", json=[row()]).json()["receipt_id"]
    for _ in range(2):  # on its way, and stored
        assert client.get(f"/v1/receipts/{receipt}", headers={"X-Write-Key": "second"}).status_code == 404
        assert client.get(f"/v1/receipts/{receipt}").status_code == 200
        work("raw")
    for unknown in ("nonsense", str(uuid.uuid4()), str(uuid_utils.uuid7())):
        assert client.get(f"/v1/receipts/{unknown}").status_code == 404


def test_small_requests_share_appends(collector, row):
    """Each append costs an fsync: twenty clients at once need far fewer than one each."""
    client = collector(linger=0.005)
    start = threading.Barrier(20)

    def post():
        start.wait()
        assert client.post("/v1/events", json=[row()]).status_code == 200

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(metrics["tally_collector_appended_rows_total"]) == 20
    assert float(metrics["tally_collector_appends_total"]) <= 10
    assert float(metrics['tally_collector_rows_total{verdict="accepted"}']) == 20
    assert float(metrics['tally_collector_requests_total{status="200"}']) == 20


def test_health_and_unknown_places(collector):
    client = collector()
    assert client.get("/healthz").json() == {"status": "ok"}
    deadline = time.monotonic() + 30
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
    assert client.get("/nowhere").status_code == 404
    answer = client.get("/v1/events")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")

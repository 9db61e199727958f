"""A thousand malformed requests: never a 5xx, and no row is acknowledged that is not in the log."""

from __future__ import annotations

import gzip
import json
import random

import zstandard

from contracts.event_types import TOPICS

_PIECES = [
    *(bytes([byte]) for byte in b'{}[],:"\\-\n\x00\xff'),
    *(b"\\ud800", b"null", b"true", b"1e999", b"9" * 30, b"\xef\xbb\xbf"),
    *(b'{"event_id":', b'"type":"post.created"', b'{"a":' * 50, b"[" * 2000),
]


def _content(random_, valid):
    kind = random_.randrange(5)
    if kind == 0:
        return b"".join(random_.choices(_PIECES, k=random_.randrange(1, 12)))
    if kind == 1:
        return random_.randbytes(random_.randrange(1, 300))
    text = bytearray(json.dumps([valid] * random_.randrange(1, 4)).encode())
    if kind == 2:
        return bytes(text[: random_.randrange(len(text))])
    for _ in range(random_.randrange(0, 6)):
        text[random_.randrange(len(text))] = random_.randrange(256)
    return bytes(text)


def test_a_thousand_fuzzed_requests(collector, event_log, row):
    random_ = random.Random(20260301)
    client = collector(max_body_bytes=1 << 20)
    acknowledged = 0
    statuses = set()
    for _ in range(1000):
        content = _content(random_, row())
        headers = {}
        encoding = random_.choice(["", "", "gzip", "zstd", "identity", "x"])
        if encoding:
            headers["Content-Encoding"] = encoding
            if random_.random() < 0.8 and encoding in ("gzip", "zstd"):
                content = gzip.compress(content, 1) if encoding == "gzip" else zstandard.compress(content)
        if random_.random() < 0.5:
            headers["Content-Type"] = random_.choice(["application/json", "application/x-ndjson", "a/b", "\x01", ";"])
        path = random_.choice(["/v1/events", "/v1/events?verdicts=errors", "/v1/events?network=%ff&verdicts=all"])
        answer = client.post(path, content=content, headers=headers)
        assert answer.status_code < 500, (answer.text, content, headers)
        statuses.add(answer.status_code)
        if answer.status_code == 200:
            body = answer.json()
            acknowledged += body["accepted"] + body["quarantined"]
    in_log = sum(high - low for topic in TOPICS for low, high in event_log.watermarks(topic).values())
    assert in_log == acknowledged > 100
    assert {200, 400, 415} <= statuses

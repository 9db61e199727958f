"""Loading files: what was read is accounted for to the row, and a fault is named with file and place."""

from __future__ import annotations

import gzip
import json
import os
import resource
from pathlib import Path

import pytest
import zstandard

from contracts.mapping import load_mapping
from resources.raw_store.base import QuarantineFilter
from streaming.sources.files import IngestError, ingest_files, wait_until_processed

TALLY = load_mapping("tally")
GLOBO = load_mapping("globo")
HIGGS = load_mapping("higgs")


@pytest.fixture
def load(event_log, tmp_path):
    def run(content, mapping=TALLY, name="rows.json", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return ingest_files([path], mapping, event_log, "demo", **options)

    return run


@pytest.fixture
def ndjson(row):
    def make(count, **fields):
        return b"".join(json.dumps(row(actor=f"u{n}", **fields)).encode() + b"\n" for n in range(count))

    return make


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        zstandard.compress,
        lambda data: gzip.compress(data[:5000], mtime=0) + gzip.compress(data[5000:]),
        lambda data: zstandard.compress(data[:5000]) + zstandard.compress(data[5000:]),
        lambda data: data.rstrip(b"\n"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
    ],
    ids=["plain", "gzip", "zstd", "gzip members", "zstd frames", "no last newline", "CRLF", "BOM"],
)
def test_compression_is_told_by_content_not_by_name(load, ndjson, pack):
    account = load(pack(ndjson(100)), name="rows.txt", chunk_rows=30)
    assert (account.read, account.accepted, account.quarantined) == (100, 100, {})
    assert sum(place.end - place.start for place in account.ranges.values()) == 100


def test_broken_rows_are_quarantined_with_their_row_and_file(load, ndjson, work, raw_store):
    account = load(ndjson(25) + b"{broken\n" + ndjson(3), chunk_rows=10)
    assert (account.read, account.accepted, dict(account.quarantined)) == (29, 28, {"not_json": 1})
    work("raw")
    rejects = raw_store.quarantine(QuarantineFilter())
    assert rejects["place"].to_list() == ["row 26 of rows.json"]
    assert rejects["payload"].to_list() == [b"{broken"]
    assert raw_store.receipt(account.receipt_id)["stored"] == 28


def test_loading_again_changes_nothing_but_duplicate(load, ndjson, work, raw_store):
    content = ndjson(40)
    first, second = load(content), load(content)
    work("raw")
    counts = [raw_store.receipt(account.receipt_id) for account in (first, second)]
    assert [(count["stored"], count["duplicate"]) for count in counts] == [(40, 0), (0, 40)]


HEADER = b"user_id,session_id,session_start,session_size,click_article_id,click_timestamp,click_environment,"
HEADER += b"click_deviceGroup,click_os,click_country,click_region,click_referrer_type\n"


def _click(number, **cells):
    values = {"user": number, "article": 5, "at": 1506862455855 + number, **cells}
    return f"{values['user']},1,1506861381000,3,{values['article']},{values['at']},4,3,2,1,13,2\n".encode()


def test_csv_rows_of_another_shape_are_set_aside_alone(load, work, raw_store):
    rows = [_click(n) for n in range(40)]
    rows[7] = b"1,2,3\n"
    rows[20] = b"\xff" + rows[20]
    rows[30] = _click(30, at="soon")
    account = load(HEADER + b"".join(rows), GLOBO, "clicks.csv", chunk_rows=16)
    assert (account.read, account.accepted) == (40, 37)
    assert dict(account.quarantined) == {"invalid_value": 1, "invalid_utf8": 1, "invalid_time": 1}
    work("raw")
    places = {row["place"]: row["payload"] for row in raw_store.quarantine(QuarantineFilter()).iter_rows(named=True)}
    assert set(places) == {f"row {n} of clicks.csv" for n in (8, 21, 31)}
    assert places["row 8 of clicks.csv"] == b"1,2,3"
    assert places["row 21 of clicks.csv"].startswith(b"\xff")


def test_quoted_cells_may_hold_line_ends(load, event_log):
    tweets = load_mapping("emoji_tweets")
    header = b"id,created_at,screen_name,text,link,emojis,retweeted\n"
    rows = b"".join(b'%d,2017-08-27 01:02:03,ann,"a\n""b"", #tag %d",http://x,1,0\n' % (n, n) for n in range(12))
    columns = [*tweets.spec.properties.columns, "id", "created_at", "screen_name"]
    assert set(header.decode().strip().split(",")) >= set(columns)
    account = load(header + rows, tweets, "tweets.csv", chunk_rows=5)
    assert (account.read, account.accepted) == (12, 12)


def test_separated_text_has_no_header(load):
    account = load(b"".join(b"1 %d 1341100972 RT\n" % n for n in range(15)), HIGGS, "higgs.txt")
    assert account.accepted == 15


@pytest.mark.parametrize(
    ("content", "mapping", "words"),
    [
        (gzip.compress(b'{"a":1}\n' * 5000, mtime=0)[:-20], TALLY, "the gzip stream is truncated after"),
        (zstandard.compress(os.urandom(5000))[:-20], TALLY, "the zstd stream is truncated after"),
        (b"\x1f\x8b" + b"junk" * 10, TALLY, "the gzip stream is broken after"),
        (b"PAR1....", TALLY, "is a Parquet file"),
        (b"BZh91AY", TALLY, "is compressed with bzip2"),
        (b'[{"a":1}]', TALLY, "row 1 begins a JSON array"),
        (b"a,b\n1,2\n", GLOBO, "no column"),
        (b"a,a\n1,2\n", GLOBO, "names a column twice: a"),
        (b"", GLOBO, "row 1 holds no header"),
        (HEADER + _click(1) * 20, TALLY, "none of its first 21 rows fits mapping 'tally' (ndjson)"),
    ],
)
def test_a_fault_of_the_whole_file_names_file_and_place(load, content, mapping, words):
    with pytest.raises(IngestError, match=r"fault|rows") as problem:
        load(content, mapping, "rows.fault")
    assert words in str(problem.value)
    assert "rows.fault" in str(problem.value)
    assert problem.value.account.fault == str(problem.value)
    assert problem.value.account.accepted == 0


def test_rows_before_a_fault_are_in_the_account(load, ndjson, work, raw_store):
    packed = gzip.compress(ndjson(3000), mtime=0)
    with pytest.raises(IngestError, match="truncated") as problem:
        load(packed[: len(packed) * 3 // 4], chunk_rows=100)
    account = problem.value.account
    assert 0 < account.accepted < 3000
    work("raw")
    assert raw_store.receipt(account.receipt_id)["stored"] == account.accepted


def test_missing_files_are_named_before_anything_is_loaded(event_log, tmp_path, ndjson):
    there = tmp_path / "there.json"
    there.write_bytes(ndjson(3))
    with pytest.raises(IngestError, match=r"nowhere\.json; nothing was loaded"):
        ingest_files([there, tmp_path / "nowhere.json"], TALLY, event_log, "demo")
    assert all(high == 0 for low, high in event_log.watermarks("content-events").values())


def test_memory_stays_constant(load, ndjson):
    """A file is never held whole: 30 MB of rows must not show in the process's peak."""
    load(ndjson(2000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    account = load(gzip.compress(ndjson(1) * 80_000, 1, mtime=0), chunk_rows=2000)
    assert account.read == 80_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


def test_progress_counts_rows_and_bytes(load, ndjson):
    seen = []
    load(ndjson(95), chunk_rows=40, progress=seen.append)
    assert [step.rows for step in seen] == [40, 80, 95]
    assert seen[-1].bytes_read == seen[-1].bytes_total


def test_waiting_tells_what_is_left(load, ndjson, event_log, work):
    account = load(ndjson(30))
    ranges, seen = list(account.ranges.values()), []
    assert not wait_until_processed(event_log, ["raw"], ranges, timeout=0.05, progress=seen.append)
    assert seen[0] == 30
    work("raw")
    assert wait_until_processed(event_log, ["raw"], ranges, timeout=5, progress=seen.append)
    assert seen[-1] == 0


DATA = Path(os.environ.get("TALLY_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.skipif(not DATA.is_dir(), reason="no real rows beside the project")
@pytest.mark.parametrize(
    ("name", "network", "rows", "events"),
    [
        ("wikipedia_edits.json.gz", "wikipedia", 39_244, 39_244),
        ("globo_clicks_hour.csv", "globo", 5_272, 5_272),
        ("higgs_activity_head.txt.gz", "higgs", 20_000, 20_000),
        ("talkingdata_clicks_head.csv", "talkingdata", 5_000, 5_017),
    ],
)
def test_real_rows_are_all_taken(event_log, name, network, rows, events):
    account = ingest_files([DATA / name], load_mapping(network), event_log, "demo")
    assert (account.read, account.accepted, account.events) == (rows, rows, events)

"""Bytes into rows: byte for byte, without parsing them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading import BodyError, compression_of, file_identity, slice_json_array, split_body, split_lines
from contracts.rejects import parse_place, place_of, shorten


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (gzip.compress(b"x", mtime=0), "gzip"),
        (zstandard.compress(b"x"), "zstd"),
        (lz4.frame.compress(b"x"), "lz4"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (b"{}", "none"),
        (b"", "none"),
    ],
)
def test_compression_is_told_by_the_first_bytes(data: bytes, expected: str) -> None:
    assert compression_of(data[:6]) == expected


def test_lines_end_in_lf_or_crlf_and_the_last_end_starts_no_row() -> None:
    assert split_lines(b"") == []
    assert split_lines(b"\n") == [b""]
    assert split_lines(b"a\nb") == split_lines(b"a\r\nb\r\n") == split_lines(b"\xef\xbb\xbfa\nb\n") == [b"a", b"b"]
    assert split_lines(b"a\n\nb\n") == [b"a", b"", b"b"]


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none())), st.sampled_from([None, 1]))
def test_rows_of_an_array_are_the_bytes_that_came(rows: list[dict[str, object]], indent: int | None) -> None:
    parts = [json.dumps(row, indent=indent).encode() for row in rows]
    body = b" [" + b" ,\n ".join(parts) + b"] "
    assert slice_json_array(body) == split_body(body) == parts


def test_an_array_keeps_rows_that_are_no_events_for_their_own_verdict() -> None:
    assert split_body(b'[1, null, "x", {"a": 1.50}, []]') == [b"1", b"null", b'"x"', b'{"a": 1.50}', b"[]"]
    assert split_body(b'{"a":1}\n{"a":2}') == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("body", [b"[1, 2", b"[1,]", b"[{]", b"{}", b"", b"[" * 5000])
def test_a_body_that_is_no_array_says_so(body: bytes) -> None:
    with pytest.raises(BodyError, match="not a JSON array of rows"):
        slice_json_array(body)


def test_a_compressed_copy_is_the_same_file() -> None:
    names = ["x/edits.csv", "edits.csv.gz", "C:\\data\\edits.csv.ZST", "edits.csv"]
    assert {file_identity(name) for name in names} == {"edits.csv"}
    assert file_identity(".gz") == ".gz"
    assert file_identity("request") == "request"


@pytest.mark.parametrize(("source", "row"), [("request", 3), ("edits of May.csv", 17), ("row 1 of x", 2)])
def test_a_place_can_be_read_back(source: str, row: int) -> None:
    assert parse_place(place_of(source, row)) == (source, row)
    assert parse_place("content-events/2@1841") is None


def test_values_in_messages_are_short_and_printable() -> None:
    assert shorten("a\0\n\ud800b") == "a\\x00\\n\\ud800b"
    assert len(shorten("x" * 500)) == 80
    assert shorten({"a": 1}) == "{'a': 1}"

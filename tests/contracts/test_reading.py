"""Bytes into rows: byte for byte, without parsing them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from contracts.reading import BodyError, compression_of, file_identity, slice_json_array, split_lines
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
    assert slice_json_array(body) == parts


def test_an_array_keeps_rows_that_are_no_events_for_their_own_verdict() -> None:
    assert slice_json_array(b'[1, null, "x", {"a": 1.50}, []]') == [b"1", b"null", b'"x"', b'{"a": 1.50}', b"[]"]


UNREADABLE = [
    rb'{"a":"\ud800"}',
    b'{"a":NaN}',
    b"Infinity",
    b"1e999",
    b'{"a":1e999, "b":' + b"9" * 400 + b"}",
    b"[" * 5000 + b"]" * 5000,
    b'{"a":"\xff"}',
    b'{"a":"one\ntwo"}',
    rb'{"a":"]\",["}',
    b"{'a': 1}",
    b"\x00",
]


@given(st.lists(st.sampled_from([*UNREADABLE, b"{}", b'{"a":[{"b":"}"}]}'])), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_a_row_that_cannot_be_read_costs_no_other(rows: list[bytes], mark: bytes) -> None:
    assert slice_json_array(mark + b" [" + b" ,\n ".join(rows) + b"] ") == rows


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"[NaN, 2", "truncated: no ']' at byte 7"),
        (b'[NaN, "two', "a text without an end at byte 6"),
        (b"[NaN,]", "no row before the ']' at byte 5"),
        (b"[NaN,,2]", "no row before the ',' at byte 5"),
        (b"[{]", "an unexpected ']' at byte 2"),
        (b"[NaN}", "an unexpected '}' at byte 4"),
        (b'[{"a":1} {"b":2}]', "neither ',' nor ']' behind a row at byte 8"),
        (b"[NaN] 7", "b'7' after the array's end at byte 6"),
        (b"\xef\xbb\xbf [NaN,]", "no row before the ']' at byte 9"),
        (b"{}", "no '[' at byte 0"),
        (b"", "no '[' at byte 0"),
        (b"[" * 5000, "truncated: no ']' at byte 5000"),
    ],
)
def test_an_array_that_breaks_off_names_the_byte(body: bytes, where: str) -> None:
    with pytest.raises(BodyError, match="not a JSON array of rows: " + re.escape(where)):
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

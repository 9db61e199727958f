"""Events and refused rows as MongoDB documents, and back.

Belongs here: the document layout. Does not belong here: collections and writes (`mongodb`).

An event's `_id` is `workspace/event_id`. `properties` is a sub-document, open to MongoDB's queries, exactly where that
gives back the same text byte for byte; otherwise (other spacing, integers beyond 64 bits, keys with a dot, a dollar or
NUL, keys met twice, deep nesting) it is kept as text in `properties_text`. `raw` is always the text itself. Texts too
long for one document (MongoDB's limit is 16 MB) are cut into documents of the collection `event_texts`, named by the
row's log position; the event's `cut` says how many pieces each has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from contracts.envelope import EVENT_SCHEMA, POSITION_SCHEMA, SCHEMA_VERSION, STORED_SCHEMA, UTC_MS
from resources.raw_store.base import position_id
from resources.raw_store.frames import QUARANTINE_SCHEMA

LONGEST_TEXT = 1_000_000
"""Bytes of one text inside a document: a long row is repeated in several fields of its event, and all must fit."""
PIECE = 8_000_000
_DEEPEST = 50
_LARGEST = 2**63
_EVENT_TIMES = [name for name, dtype in EVENT_SCHEMA.items() if dtype == UTC_MS]


def event_documents(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Documents in the frame's order (STORED_SCHEMA). Long texts are still whole: see `cut_long_texts`."""
    frame = events.with_columns(pl.col(_EVENT_TIMES).to_physical())
    documents = []
    for row in frame.iter_rows():
        document: dict[str, Any] = dict(zip(frame.columns, row, strict=True))
        document["_id"] = f"{document['workspace']}/{document['event_id']}"
        for name in _EVENT_TIMES:
            document[name] = DatetimeMS(document[name])
        document["log_offset"] = Int64(document["log_offset"])
        text = document.pop("properties")
        properties = sub_document(text)
        if properties is None:
            document["properties_text"] = text
        else:
            document["properties"] = properties
        documents.append(document)
    return documents


def sub_document(text: str) -> dict[str, Any] | None:
    """The object that `text` stands for, if MongoDB gives it back as the very same text; otherwise None."""
    if len(text) > LONGEST_TEXT // 4:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or orjson.dumps(value) != text.encode() or not _keepable(value, 0):
        return None
    return value


def _keepable(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is dict:
        return depth < _DEEPEST and all(
            key and key[0] != "$" and "." not in key and "\0" not in key and _keepable(item, depth + 1)
            for key, item in value.items()
        )
    if kind is list:
        return depth < _DEEPEST and all(_keepable(item, depth + 1) for item in value)
    return kind is not int or -_LARGEST <= value < _LARGEST


def refused_documents(rejects: pl.DataFrame, now_ms: int) -> list[dict[str, Any]]:
    """Quarantine documents (REJECT_SCHEMA + POSITION_SCHEMA), open, first and last seen now."""
    now = DatetimeMS(now_ms)
    documents = []
    for row in rejects.with_columns(pl.col("received_at").to_physical()).iter_rows():
        document: dict[str, Any] = dict(zip(rejects.columns, row, strict=True))
        document |= {
            "_id": position_id(*(document[name] for name in POSITION_SCHEMA)),
            "received_at": DatetimeMS(document["received_at"]),
            "log_offset": Int64(document["log_offset"]),
            "status": "open",
            "attempts": 1,
            "first_seen": now,
            "last_seen": now,
            "note": "",
            "schema_version": SCHEMA_VERSION,
        }
        documents.append(document)
    return documents


def has_long_texts(frame: pl.DataFrame) -> bool:
    """Whether any text of the frame needs `cut_long_texts`."""
    return bool(frame.select(pl.any_horizontal(pl.selectors.string().str.len_bytes().max() > LONGEST_TEXT)).item())


def cut_long_texts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Take texts and bytes that are too long out of the document; return them as documents of their own."""
    long = {
        name: value if isinstance(value, bytes) else value.encode()
        for name, value in document.items()
        if name != "_id" and isinstance(value, str | bytes) and len(value) * 4 > LONGEST_TEXT
    }
    place = position_id(*(document[name] for name in POSITION_SCHEMA))
    pieces = []
    for name, data in long.items():
        if len(data) <= LONGEST_TEXT:
            continue
        parts = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        pieces += [{"_id": f"{place}/{name}/{n}", "data": part} for n, part in enumerate(parts)]
        document.setdefault("cut", {})[name] = len(parts)
        document[name] = document[name][:0]
    return pieces


def piece_ids(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Per field the ids of the pieces that `cut_long_texts` made, in order."""
    place = position_id(*(document[name] for name in POSITION_SCHEMA))
    return {name: [f"{place}/{name}/{n}" for n in range(count)] for name, count in document.get("cut", {}).items()}


def event_frame(documents: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """STORED_SCHEMA, from whole documents."""
    columns: dict[str, list[Any]] = {
        name: [d[name] for d in documents] for name in STORED_SCHEMA if name != "properties"
    }
    columns["properties"] = [
        d["properties_text"] if "properties_text" in d else orjson.dumps(d["properties"]).decode() for d in documents
    ]
    return _frame(columns, STORED_SCHEMA)


def quarantine_frame(documents: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """QUARANTINE_SCHEMA, from whole documents."""
    columns = {name: [d["_id" if name == "id" else name] for d in documents] for name in QUARANTINE_SCHEMA}
    return _frame(columns, QUARANTINE_SCHEMA)


def _frame(columns: dict[str, list[Any]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    series = (
        pl.Series(name, list(map(int, columns[name])), dtype=pl.Int64).cast(dtype)
        if dtype == UTC_MS
        else pl.Series(name, columns[name], dtype=dtype)
        for name, dtype in schema.items()
    )
    return pl.DataFrame(list(series))

"""The MongoDB raw store without a server: which URLs it takes, what it says when nobody answers, its documents."""

from __future__ import annotations

import socket
from typing import Any

import orjson
import pytest

from resources.raw_store import RawStoreError, RawStoreUnavailableError, open_raw_store
from resources.raw_store.mongodb_documents import event_documents, sub_document


def test_a_server_that_does_not_answer_is_transient_and_the_password_stays_hidden(make_events: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = unused.getsockname()[1]
        url = f"mongodb://me:s3cret@127.0.0.1:{port}/tally?serverSelectionTimeoutMS=100"
        store = open_raw_store(url)
        with pytest.raises(RawStoreUnavailableError, match=f"mongodb://127.0.0.1:{port}/tally") as caught:
            store.put_events(make_events(["a"]))
        assert "s3cret" not in str(caught.value)
        with pytest.raises(RawStoreUnavailableError):
            store.ping()
        store.close()


def test_a_url_without_a_database_is_refused_without_its_password() -> None:
    with pytest.raises(RawStoreError, match="names no database") as caught:
        open_raw_store("mongodb://me:s3cret@host")
    assert "s3cret" not in str(caught.value)


def test_opening_connects_to_nothing() -> None:
    open_raw_store("mongodb://host.invalid/tally").close()


def test_properties_are_a_sub_document_only_where_the_text_comes_back_exactly() -> None:
    for text in ('{"text":"h\\"i","n":1,"deep":{"x":[1,2.5,null,true]}}', "{}", '{"i":-9223372036854775808}'):
        value = sub_document(text)
        assert value is not None
        assert orjson.dumps(value).decode() == text
    for text in ('{"a": 1}', '{"a.b":1}', '{"$a":1}', '{"x":{"":1}}', '{"n":9223372036854775808}', '{"n":1e3}', "[1]"):
        assert sub_document(text) is None


def test_documents_carry_identity_types_and_version(make_events: Any) -> None:
    (document,) = event_documents(make_events(["a"], start=2**40))
    assert document["_id"] == "acme/a"
    assert document["properties"] == {"text": "hello", "n": 1}
    assert document["schema_version"] == 2
    assert document["log_offset"] == 2**40
    assert int(document["event_time"]) == 1714564800000

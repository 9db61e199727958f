"""What users of the cache rely on: versioned answers that expire, boards that change in one step, loud absence."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from resources.cache import Cache, CacheError, CacheUnavailableError, open_cache

MINUTE = timedelta(minutes=1)


def test_a_value_comes_back_under_its_own_names_only(cache: Cache, raw_client: Any) -> None:
    value = {"rows": [[1, 2.5, None, "é"]], "complete": True}
    cache.set_json("query", "v1", "engagements", value, MINUTE)
    assert cache.get_json("query", "v1", "engagements") == value
    assert cache.get_json("query", "v2", "engagements") is None
    assert cache.get_json("other", "v1", "engagements") is None
    assert 0 < raw_client.pttl("tally:query:v1:engagements") <= 60_000


def test_colons_in_names_never_lead_to_another_value(cache: Cache, raw_client: Any) -> None:
    cache.set_json("a:b", "c", "d", 1, MINUTE)
    cache.set_json("a", "b:c", "d", 2, MINUTE)
    cache.set_json("a", "b", "c:d", 3, MINUTE)
    cache.set_json("a%3Ab", "c", "d", 4, MINUTE)
    found = [cache.get_json(*names) for names in (("a:b", "c", "d"), ("a", "b:c", "d"), ("a", "b", "c:d"))]
    assert found == [1, 2, 3]
    assert raw_client.dbsize() == 4


def test_a_value_expires(cache: Cache, raw_client: Any) -> None:
    cache.set_json("query", "v1", "k", 1, timedelta(milliseconds=20))
    time.sleep(0.05)
    assert cache.get_json("query", "v1", "k") is None


def test_what_is_not_json_is_a_miss_when_read_and_an_error_when_put(cache: Cache, raw_client: Any) -> None:
    raw_client.set("tally:query:v1:k", b"\xff{")
    assert cache.get_json("query", "v1", "k") is None
    with pytest.raises(CacheError, match="query/k is not JSON"):
        cache.set_json("query", "v1", "k", {1, 2}, MINUTE)


def test_a_board_is_replaced_whole(cache: Cache, raw_client: Any) -> None:
    cache.replace_board("trends", {"old": 9.0, "both": 1.0}, MINUTE)
    cache.replace_board("trends", {"both": 3.0, "new": 2.0, "tie": 2.0}, MINUTE)
    assert cache.board("trends") == [("both", 3.0), ("tie", 2.0), ("new", 2.0)]
    assert cache.board("trends", limit=1) == [("both", 3.0)]
    assert cache.board("trends", limit=0) == []
    assert raw_client.keys() == [b"tally:board:trends"]
    assert raw_client.pttl("tally:board:trends") > 0
    cache.replace_board("trends", {}, MINUTE)
    assert cache.board("trends") == []
    with pytest.raises(CacheError, match="'x' is not a number"):
        cache.replace_board("trends", {"x": float("nan")}, MINUTE)


def test_readers_never_see_a_mixture_of_two_boards(cache: Cache, raw_client: Any) -> None:
    boards = [{f"{name}-{n}": float(n) for n in range(3_000)} for name in ("red", "blue")]
    cache.replace_board("trends", boards[0], MINUTE)
    stop = threading.Event()
    mixed: list[Any] = []

    def read() -> None:
        while not stop.is_set():
            seen = cache.board("trends", limit=10_000)
            if len(seen) != 3_000 or len({member.split("-")[0] for member, _ in seen}) != 1:
                mixed.append(seen[:3])

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(20):
        cache.replace_board("trends", boards[number % 2], MINUTE)
    stop.set()
    thread.join()
    assert mixed == []


def test_a_cache_that_is_down_says_so_at_once_and_recovers_by_itself(redis_server: Any, cache: Cache) -> None:
    cache.set_json("query", "v1", "k", 1, MINUTE)
    redis_server.stop()
    started = time.monotonic()
    for call in (
        lambda: cache.get_json("query", "v1", "k"),
        lambda: cache.set_json("query", "v1", "k", 1, MINUTE),
        lambda: cache.replace_board("b", {"x": 1.0}, MINUTE),
        lambda: cache.board("b"),
        cache.ping,
    ):
        with pytest.raises(CacheUnavailableError, match=r"redis\.sock"):
            call()
    assert time.monotonic() - started < 10
    redis_server.start()
    assert cache.get_json("query", "v1", "k") is None
    cache.set_json("query", "v1", "k", 2, MINUTE)
    assert cache.get_json("query", "v1", "k") == 2


def test_a_cache_that_hangs_times_out_and_its_password_stays_hidden() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = Cache(f"redis://:s3cret@127.0.0.1:{port}/0", timeout_s=0.05)
        with pytest.raises(CacheUnavailableError, match=f"redis://127.0.0.1:{port}/0") as caught:
            hanging.get_json("a", "b", "c")
        assert "s3cret" not in str(caught.value)


def test_a_full_cache_is_unavailable_for_writing_only(cache: Cache, raw_client: Any) -> None:
    cache.set_json("query", "v1", "k", 1, MINUTE)
    raw_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(CacheUnavailableError, match="memory"):
            cache.set_json("query", "v1", "k2", "x" * 1000, MINUTE)
        assert cache.get_json("query", "v1", "k") == 1
    finally:
        raw_client.config_set("maxmemory", 0)


def test_other_urls_are_refused() -> None:
    with pytest.raises(CacheError, match="'http'"):
        open_cache("http://localhost")

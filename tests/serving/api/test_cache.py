"""What is computed once and given many times: to whom, how long, and what a store that moves does to it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from fastapi import FastAPI

from resources.cache import open_cache
from resources.clickhouse import open_clickhouse
from serving.api.app import build_app
from serving.query import MetricQuery, answer

START, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
RANGE = "from=2026-03-02&to=2026-03-03"
CLOSED = "/v1/metrics/events?from=2026-03-02&to=2026-03-02T22:00&by=type"
LIVE = "/v1/metrics/events?from=2026-03-02&to=2026-03-04&by=type"
"""Past the newest event: a bucket of this range is not complete."""

Ask = Callable[..., Awaitable[httpx.Response]]
Replica = Callable[..., FastAPI]


@pytest.fixture
def replica(service: Any) -> Replica:
    """Another process's application over the same stores, with other settings and a count of its statements."""

    def make(**changes: Any) -> FastAPI:
        config = replace(service.config, **changes)
        statements: Any = type(service.statements)()
        app = build_app(config, lambda url: statements.watch(open_clickhouse(url)))
        app.state.statements = statements
        return app

    return make


def ask(apps: list[FastAPI], service: Any, work: Callable[..., Awaitable[Any]]) -> Any:
    """Run `work(get, get, …)` with one function per application that asks it as a viewer."""

    def getter(client: httpx.AsyncClient) -> Ask:
        async def get(path: str, workspace: str = "acme", **headers: str) -> httpx.Response:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            sent["Authorization"] = f"Bearer {service.keys[workspace, 'viewer']}"
            given = await client.get(path, headers=sent)
            assert given.status_code == 200, given.text
            return given

        return get

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            asks = []
            for app in apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
                client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")
                asks.append(getter(await stack.enter_async_context(client)))
            return await work(*asks)

    return asyncio.run(run())


def answers(app: FastAPI) -> dict[str, int]:
    found: dict[str, int] = dict(app.state.api.telemetry.answers)
    return found


@pytest.mark.parametrize("path", [CLOSED, LIVE, "/v1/trends"])
def test_a_hit_touches_no_store(service: Any, replica: Replica, path: str) -> None:
    app = replica(live_staleness=600)

    async def work(get: Ask) -> None:
        first = await get(path)
        cache = app.state.api.stores.cache
        cache.close()
        cache._redis = None  # whoever asks Redis now fails
        before = len(app.state.statements.texts)
        assert before > 0
        for _ in range(50):
            assert (await get(path)).content == first.content
        assert len(app.state.statements.texts) == before
        app.state.api.stores.cache = open_cache(service.config.cache_url)

    ask([app], service, work)
    assert answers(app)["local"] == 50


def test_a_hundred_identical_misses_are_one_load(service: Any, replica: Replica) -> None:
    app = replica(cache_url="redis://127.0.0.1:1/0")

    async def work(get: Ask) -> list[httpx.Response]:
        return await asyncio.gather(*(get(LIVE) for _ in range(100)))

    given = ask([app], service, work)
    assert {(each.content, each.headers["Tally-Version"]) for each in given} == {
        (given[0].content, given[0].headers["Tally-Version"])
    }
    assert answers(app) == {"local": 0, "shared": 0, "store": 1}
    assert app.state.api.telemetry.waited == 99


def test_a_second_replica_takes_what_the_first_computed(service: Any, replica: Replica) -> None:
    apps = [replica(), replica()]
    path = f"/v1/metrics/events?{RANGE}&by=topic&grain=day&limit={random.randrange(1, 9000)}"  # nobody asked it before

    async def work(first: Ask, second: Ask) -> None:
        assert (await first(path)).content == (await second(path)).content

    ask(apps, service, work)
    assert [answers(app) for app in apps] == [
        {"local": 0, "shared": 0, "store": 1},
        {"local": 0, "shared": 1, "store": 0},
    ]


def test_without_redis_every_answer_is_the_same(service: Any, replica: Replica) -> None:
    apps = [replica(), replica(cache_url="redis://127.0.0.1:1/0")]

    async def work(cached: Ask, alone: Ask) -> None:
        for path in (CLOSED, LIVE, f"/v1/metrics/conversation_rate?{RANGE}"):
            assert (await cached(path)).content == (await alone(path)).content

    ask(apps, service, work)
    assert apps[1].state.api.telemetry.cache_problems == 1  # left alone after the first try


def test_no_answer_of_one_workspace_is_given_to_another(service: Any, replica: Replica, store: Client) -> None:
    """The same questions by two workspaces, over two replicas and both tiers, in random order."""
    chance = random.Random(5)
    paths = [f"/v1/metrics/{m}?{RANGE}&grain=day&by={by}" for m in ("events", "posts") for by in ("type", "object")]
    asked = {
        (name, path): answer(
            store,
            MetricQuery(
                path.split("/")[3].partition("?")[0], (path.rpartition("=")[2],), START, END, "day", workspace=name
            ),
        ).frame["value"].to_list()
        for name in ("acme", "globex")
        for path in paths
    }  # fmt: skip
    assert all(asked["acme", path] != asked["globex", path] for path in paths)

    async def work(*asks: Ask) -> None:
        for _ in range(400):
            name, path = chance.choice(list(asked))
            given = await chance.choice(asks)(path, name)
            assert [row["value"] for row in given.json()["rows"]] == asked[name, path]

    apps = [replica(), replica()]
    ask(apps, service, work)
    assert sum(answers(app)["store"] for app in apps) <= len(asked) + 8


def late(reference: Any, seed: int, at: datetime) -> pl.DataFrame:
    """One event of acme in the closed range, that arrives only now."""
    event = reference.make_events(seed, 1, START + timedelta(hours=20), START + timedelta(hours=21))
    return event.with_columns(
        workspace=pl.lit("acme"),
        received_at=pl.lit(at).cast(event.schema["received_at"]),
        log_offset=pl.lit(10_000 + seed, pl.Int64),
    )


def total(given: httpx.Response) -> float:
    return float(sum(row["value"] for row in given.json()["rows"]))


def test_a_live_answer_follows_the_store(service: Any, replica: Replica, store: Client, reference: Any) -> None:
    async def work(get: Ask) -> None:
        before = total(await get(LIVE))
        reference.insert_events(store, late(reference, 1, datetime.now(UTC)))
        deadline = time.monotonic() + 60
        while total(await get(LIVE)) != before + 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    ask([replica(live_staleness=0.2)], service, work)


def test_a_closed_answer_waits_for_a_seal_or_for_one_who_has_seen_more(
    service: Any, replica: Replica, store: Client, reference: Any
) -> None:
    apps = [replica(live_staleness=0.01, closed_staleness=3600)]

    async def work(get: Ask) -> None:
        # what other tests computed is good here too: begin with the newest
        old = await get(CLOSED, Tally_Min_Version=(await get(LIVE)).headers["Tally-Version"])
        reference.insert_events(store, late(reference, 2, datetime.now(UTC)))
        deadline = time.monotonic() + 60
        while (newest := int((await get(LIVE)).headers["Tally-Version"])) <= int(old.headers["Tally-Version"]):
            assert time.monotonic() < deadline
        assert (await get(CLOSED)).content == old.content
        seen = await get(CLOSED, Tally_Min_Version=str(newest))
        assert int(seen.headers["Tally-Version"]) >= newest
        assert total(seen) == total(old) + 1
        reference.insert_events(store, late(reference, 3, datetime.now(UTC)))
        while int((await get(LIVE)).headers["Tally-Version"]) <= newest:
            assert time.monotonic() < deadline
        assert (await get(CLOSED)).content == seen.content
        reference.seal(store, [START + timedelta(hours=20)], ("alpha", "beta"), datetime.now(UTC))
        while total(await get(CLOSED)) != total(old) + 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    ask(apps, service, work)


def test_a_version_nobody_has_seen_is_no_way_around_the_cache(service: Any, replica: Replica) -> None:
    app = replica(live_staleness=600)

    async def work(get: Ask) -> None:
        for _ in range(5):
            assert (await get(CLOSED, Tally_Min_Version=str(10**18))).status_code == 200

    ask([app], service, work)
    assert answers(app)["store"] <= 1


def test_one_session_never_sees_the_version_go_back(
    service: Any, replica: Replica, store: Client, reference: Any
) -> None:
    """Two replicas in turn, closed and live questions, while events arrive."""
    chance = random.Random(9)

    async def work(*asks: Ask) -> None:
        newest = 0
        for turn in range(200):
            if turn % 20 == 0:
                reference.insert_events(store, late(reference, 100 + turn, datetime.now(UTC)))
            given = await asks[turn % 2](chance.choice((CLOSED, LIVE)), Tally_Min_Version=str(newest))
            version = int(given.headers["Tally-Version"])
            assert version >= newest
            newest = version
        assert newest > 0

    ask([replica(live_staleness=0.05), replica(live_staleness=0.3)], service, work)


def test_the_process_tells_its_hits_and_misses(service: Any, replica: Replica) -> None:
    app = replica(live_staleness=600)

    async def work(get: Ask) -> str:
        for _ in range(3):
            await get(CLOSED)
        return (await get("/metrics")).text

    text = ask([app], service, work)
    assert 'tally_api_answers_total{from="local"} 2' in text
    assert 'tally_api_requests_total{status="200"} 3' in text
    assert "acme" not in text

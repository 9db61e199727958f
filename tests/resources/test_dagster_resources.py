"""The Dagster resources: plain clients, secrets by variable, nothing opened on import."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dagster import Definitions, EnvVar, asset, materialize

from resources.dagster_resources import (
    ArchiveResource,
    CacheResource,
    ClickHouseResource,
    EventLogResource,
    RawStoreResource,
)
from resources.raw_store import PositionRange

ALL = (ArchiveResource, CacheResource, ClickHouseResource, EventLogResource, RawStoreResource)


def test_an_asset_gets_the_plain_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_TEST_RAW_URL", f"sqlite:///{tmp_path}/raw.db")
    seen: list[Any] = []

    @asset
    def counted(raw_store: RawStoreResource, archive: ArchiveResource, cache: CacheResource) -> None:
        store = raw_store.open()
        store.ensure_schema()
        where = PositionRange("t", 0, 0, 1)
        seen.append((store.verdicts([where])[where].total, archive.open().parts(), cache.open().url))
        store.close()

    resources = {
        "raw_store": RawStoreResource(url=EnvVar("TALLY_TEST_RAW_URL")),
        "archive": ArchiveResource(url=(tmp_path / "archive").as_uri()),
        "cache": CacheResource(url="redis://127.0.0.1:1/0"),
    }
    assert materialize([counted], resources=resources).success
    assert seen == [(0, [], "redis://127.0.0.1:1/0")]


def test_closing_a_client_closes_nobody_elses(tmp_path: Path) -> None:
    resource = RawStoreResource(url=f"sqlite:///{tmp_path}/a.db")
    with closing(resource.open()) as mine:
        mine.ensure_schema()
        with closing(resource.open()) as other:
            other.ping()
        mine.ping()
        assert mine is not other


def test_one_archive_per_process_remembers_its_manifests(tmp_path: Path) -> None:
    first = ArchiveResource(url=(tmp_path / "a").as_uri()).open()
    assert ArchiveResource(url=(tmp_path / "a").as_uri()).open() is first
    assert ArchiveResource(url=(tmp_path / "b").as_uri()).open() is not first


@pytest.mark.parametrize("kind", ALL)
def test_every_url_is_described_for_the_ui(kind: Any) -> None:
    assert len(kind.model_fields["url"].description) > 30
    assert kind.__doc__
    Definitions.validate_loadable(Definitions(resources={"it": kind(url=EnvVar("TALLY_UNSET"))}))


@pytest.mark.parametrize("kind", [CacheResource, ClickHouseResource, EventLogResource, RawStoreResource])
def test_a_password_in_a_url_is_not_shown(kind: Any) -> None:
    assert "s3cret" not in repr(kind(url="redis://:s3cret@host/0"))


def test_importing_opens_no_engine() -> None:
    code = (
        "import sys, resources.dagster_resources, resources.raw_store, resources.archive, resources.cache;"
        "heavy = {'pymongo', 'chdb', 'confluent_kafka', 'clickhouse_connect', 'obstore'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

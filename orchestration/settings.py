"""Settings from the environment (`TALLY_*`); with none set, everything is local under `data/`.

Belongs here: names, defaults and their validation. Does not belong here: opening a store.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where the stores are and how the processes listen. Secrets are `SecretStr`: they never reach a log."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", frozen=True, extra="ignore")

    home: Path = Field(PROJECT_ROOT / "data", description="Folder of everything local")
    event_log_url: str = Field("", description="kafka://host:port[,host:port] or sqlite:///path")
    raw_store_url: str = Field("", description="mongodb://host/database or sqlite:///path")
    archive_url: str = Field("", description="s3://bucket/prefix or file:///path")
    clickhouse_url: str = Field("", description="http://[user:password@]host:port/database")
    cache_url: str = Field("", description="redis://host:port/db")

    clickhouse_port: int = Field(8123, description="Port of the local ClickHouse process")
    redis_port: int = Field(6379, description="Port of the local Redis process")
    collector_host: str = "127.0.0.1"
    collector_port: int = 8070
    dagster_port: int = 3000
    realtime_grpc_port: int = 4301
    batch_grpc_port: int = 4302
    write_keys: Annotated[SecretStr, NoDecode] = Field(
        SecretStr("demo=demo-write-key"), description="workspace=key pairs, separated by commas"
    )
    topic_partitions: int = Field(4, ge=1, le=1024)
    retention_days: int = Field(7, ge=1, description="How long the event log keeps messages")

    def model_post_init(self, _context: object) -> None:
        home = self.home.expanduser().resolve()
        defaults = {
            "home": home,
            "event_log_url": f"sqlite:///{home / 'event_log.db'}",
            "raw_store_url": f"sqlite:///{home / 'raw_store.db'}",
            "archive_url": f"file://{home / 'archive'}",
            "clickhouse_url": f"http://127.0.0.1:{self.clickhouse_port}/tally",
            "cache_url": f"redis://127.0.0.1:{self.redis_port}/0",
        }
        for name, value in defaults.items():
            if name == "home" or not getattr(self, name):
                object.__setattr__(self, name, value)

    @cached_property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

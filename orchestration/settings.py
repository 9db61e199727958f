"""Settings from the environment (`TALLY_*`); with none set, everything is local under `data/`.

Belongs here: names, defaults and their validation. Does not belong here: opening a store.

The environment wins; a file `settings.env` in `TALLY_HOME` (lines `TALLY_NAME=value`) answers for what the environment
leaves open, so that a folder remembers the ports its stack was given.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DEFAULT_HOME = PROJECT_ROOT / "data"
SETTINGS_FILE = "settings.env"

Port = Annotated[int, Field(ge=1, le=65535)]
Engines = Literal["embedded", "servers"]


class Settings(BaseSettings):
    """Where the stores are and how the processes listen. Secrets are `SecretStr`: they never reach a log."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", frozen=True, extra="ignore")

    home: Path = Field(default=DEFAULT_HOME, description="Folder of everything local")
    engines: Engines = Field(default="embedded", description="What the stack itself runs where a URL is not set")
    event_log_url: str = Field(default="", description="kafka://host:port[,host:port] or sqlite:///path")
    raw_store_url: str = Field(default="", description="mongodb://host/database or sqlite:///path")
    archive_url: str = Field(default="", description="s3://bucket/prefix or file:///path")
    clickhouse_url: str = Field(default="", description="http://[user:password@]host:port/database")
    cache_url: str = Field(default="", description="redis://host:port/db")

    clickhouse_port: Port = Field(default=8123, description="Port of the local ClickHouse process")
    redis_port: Port = Field(default=6379, description="Port of the local Redis process")
    kafka_port: Port = Field(default=9092, description="Port of the local Kafka broker (engines=servers)")
    kafka_controller_port: Port = 9093
    mongodb_port: Port = Field(default=27017, description="Port of the local MongoDB protocol (engines=servers)")
    s3_port: Port = Field(default=9000, description="Port of the local S3 server (engines=servers)")
    postgresql_port: Port = Field(default=5432, description="Port of the local PostgreSQL (engines=servers)")
    collector_host: str = "127.0.0.1"
    collector_port: Port = 8070
    access_url: SecretStr = Field(
        default=SecretStr(""), description="postgresql://user:password@host/database or sqlite:///path: API keys"
    )
    api_host: str = "127.0.0.1"
    api_port: Port = 8080
    api_requests_per_second: float = Field(default=200, ge=0, description="Per API key; 0: no limit")
    dagster_port: Port = 3000
    realtime_grpc_port: Port = 4301
    batch_grpc_port: Port = 4302
    write_keys: Annotated[SecretStr, NoDecode] = Field(
        default=SecretStr("demo=demo-write-key"), description="workspace=key pairs, separated by commas"
    )
    alert_rules: str = Field(default="", description="File or folder of alert rules (default: alerts in the home)")
    smtp_url: SecretStr = Field(
        default=SecretStr(""), description="smtp[s]://[user:password@]host[:port]?from=address, for alerts by mail"
    )
    worker_id: str = Field(
        default="", description="A name of this worker that survives restarts: its partitions wait for it a while"
    )
    topic_partitions: int = Field(default=4, ge=1, le=1024)
    retention_days: int = Field(default=7, ge=1, description="How long the event log keeps messages")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given: dict[str, Any] = init_settings()
        home = Path(given.get("home") or os.environ.get("TALLY_HOME") or DEFAULT_HOME).expanduser()
        return init_settings, env_settings, DotEnvSettingsSource(settings_cls, env_file=home / SETTINGS_FILE)

    def model_post_init(self, _context: object) -> None:
        object.__setattr__(self, "home", self.home.expanduser().resolve())
        defaults = {
            "event_log_url": self.local_event_log_url,
            "raw_store_url": self.local_raw_store_url,
            "archive_url": self.local_archive_url,
            "clickhouse_url": self.local_clickhouse_url,
            "cache_url": self.local_cache_url,
            "alert_rules": str(self.home / "alerts"),
            "access_url": SecretStr(f"sqlite:///{self.home / 'access.db'}"),
        }
        for name, value in defaults.items():
            given = getattr(self, name)
            if not (given.get_secret_value() if isinstance(given, SecretStr) else given):
                object.__setattr__(self, name, value)

    @property
    def local_event_log_url(self) -> str:
        if self.engines == "servers":
            return f"kafka://127.0.0.1:{self.kafka_port}"
        return f"sqlite:///{self.home / 'event_log.db'}"

    @property
    def local_raw_store_url(self) -> str:
        if self.engines == "servers":
            return f"mongodb://127.0.0.1:{self.mongodb_port}/tally"
        return f"sqlite:///{self.home / 'raw_store.db'}"

    @property
    def local_archive_url(self) -> str:
        return "s3://tally/archive" if self.engines == "servers" else f"file://{self.home / 'archive'}"

    @property
    def local_clickhouse_url(self) -> str:
        return f"http://127.0.0.1:{self.clickhouse_port}/tally"

    @property
    def local_cache_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def clickhouse_is_local(self) -> bool:
        """True when the stack itself starts ClickHouse: the URL is the default one."""
        return self.clickhouse_url == self.local_clickhouse_url

    @property
    def redis_is_local(self) -> bool:
        """True when the stack itself starts Redis: the URL is the default one."""
        return self.cache_url == self.local_cache_url

    @cached_property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    def environment(self) -> dict[str, str]:
        """These settings as environment variables for child processes. Holds secrets: pass on, never write or print."""
        values = self.model_dump()
        return {
            f"TALLY_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
        } | {"DAGSTER_HOME": str(self.dagster_home)}

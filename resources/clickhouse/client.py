"""Opening ClickHouse and telling its errors apart.

Belongs here: connection settings and the question "is it worth trying again?". Does not belong here: SQL.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

# Codes after which the same statement may succeed: time-outs, network, too many parts or queries, memory of the server,
# Keeper, read-only replicas. Memory of one query (241 with "for query") is not among them: it would fail again.
_TRANSIENT_CODES = {3, 159, 202, 203, 209, 210, 225, 242, 252, 319, 439, 999}
_CODE = re.compile(r"[Cc]ode:? (\d+)")


class ClickHouseUnavailableError(Exception):
    """No answer, or an answer that says "later". Every statement of ours is safe to repeat."""


def open_clickhouse(url: str, *, settings: Mapping[str, Any] | None = None, database: str | None = None) -> Client:
    """Return a client for `http[s]://[user[:password]@]host[:port]/database`; safe to share between threads.

    The password may come from TALLY_CLICKHOUSE_PASSWORD instead of the URL. Raises ClickHouseUnavailableError when
    nothing answers, ValueError when the URL is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"ClickHouse URL {_without_password(url)!r} is not of the form http://host:port/database")
    try:
        client: Client = clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            secure=parts.scheme == "https",
            username=unquote(parts.username) if parts.username else "default",
            password=unquote(parts.password) if parts.password else os.environ.get("TALLY_CLICKHOUSE_PASSWORD", ""),
            database=database if database is not None else (parts.path.strip("/") or "default"),
            # Without sessions one client serves many threads at once.
            autogenerate_session_id=False,
            settings=dict(settings or {}),
            connect_timeout=5,
            send_receive_timeout=300,
        )
    except (ClickHouseError, OSError) as error:
        if is_transient(error):
            raise ClickHouseUnavailableError(
                f"ClickHouse at {_without_password(url)} does not answer: {reason_of(error)}"
            ) from error
        raise
    return client


def reason_of(error: BaseException) -> str:
    """Return why there was no answer, in the system's own words ("Connection refused") where they can be found."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "timed out"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        inner = getattr(cause, "reason", None)  # urllib3 names what it gave up for, beside Python's own chain
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
    return str(error)


def is_transient(error: BaseException) -> bool:
    """True when repeating the statement may succeed: no connection, overload, or a server short of memory."""
    if isinstance(error, (OSError, TimeoutError, ClickHouseUnavailableError)):
        return True
    if not isinstance(error, ClickHouseError):
        return False
    text = str(error)
    found = _CODE.search(text)
    if found is None:  # the driver failed before the server said anything
        return True
    code = int(found.group(1))
    return code in _TRANSIENT_CODES or (code == 241 and "(total)" in text)


def wait_until_ready(url: str, timeout: float = 30.0) -> Client:
    """Return a client as soon as the engine answers; raises ClickHouseUnavailableError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return open_clickhouse(url, database="default")
        except ClickHouseUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def log_comment(**who: str) -> dict[str, str]:
    """Settings that stamp a statement with who asked (run id, asset, partition), as `system.query_log` shows it."""
    return {"log_comment": json.dumps(who, sort_keys=True)}


def _without_password(url: str) -> str:
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)

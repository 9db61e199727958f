"""One HTTP request as the query it asks for.

Belongs here: URL parameters, headers, credentials, multipart forms. Does not belong here: running the query.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from typing import Final
from urllib.parse import parse_qsl

from deploy.local.clickhouse.errors import refuse

_TRANSPORT: Final = frozenset(
    [
        "query",
        "query_id",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "user",
        "password",
        "quota_key",
        "role",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "stacktrace",
        "enable_http_compression",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "add_http_cors_header",
        "http_zlib_compression_level",
    ]
)
"""URL parameters that speak to this process; everything else is a setting of the engine."""

MAX_SESSION_TIMEOUT: Final = 3600


@dataclass
class ExternalTable:
    """Data sent beside a query, readable in it as a temporary table."""

    name: str
    data: bytes
    format: str = "TabSeparated"
    structure: str = ""


@dataclass
class Request:
    """`query` is latin-1 text: one character per byte of what was sent. `database` etc. are '' where not given."""

    method: str
    query: str
    query_id: str
    headers: Mapping[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    transport: dict[str, str] = field(default_factory=dict)
    external: list[ExternalTable] = field(default_factory=list)

    @property
    def database(self) -> str:
        return self.transport.get("database") or self.headers.get("x-clickhouse-database", "")

    @property
    def default_format(self) -> str:
        return self.transport.get("default_format") or self.headers.get("x-clickhouse-format", "") or "TabSeparated"

    @property
    def session_id(self) -> str:
        return self.transport.get("session_id", "")

    @property
    def session_timeout(self) -> int:
        text = self.transport.get("session_timeout", "60")
        if not text.isdigit() or not 0 < int(text) <= MAX_SESSION_TIMEOUT:
            sentence = f"Session timeout '{text}' is not an integer from 1 to {MAX_SESSION_TIMEOUT} seconds"
            raise refuse("INVALID_SESSION_TIMEOUT", sentence)
        return int(text)

    def flag(self, name: str) -> bool:
        return self.transport.get(name, "") in {"1", "true", "True"}

    @property
    def read_only(self) -> bool:
        """HTTP's GET promises to change nothing."""
        return self.method in {"GET", "HEAD"}

    def take(self, pairs: list[tuple[str, str]]) -> None:
        """Sort parameters (latin-1 text) into query, query parameters, transport and settings."""
        for name, value in pairs:
            if name == "query":
                self.query += value
            elif name.startswith("param_"):
                self.params[name.removeprefix("param_")] = _text(value)
            elif name in _TRANSPORT:
                self.transport[name] = _text(value)
            else:
                self.settings[name] = _text(value)


def read_request(method: str, query_string: bytes, headers: Mapping[str, str]) -> Request:
    """The request line and headers; the body is read later."""
    request = Request(method, "", "", headers)
    request.take(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, encoding="latin-1"))
    request.query_id = request.transport.get("query_id") or str(uuid.uuid4())
    for name in ("compress", "decompress"):
        if request.flag(name):
            raise refuse(
                "NOT_IMPLEMENTED",
                f"{name}=1 (native blocks) is not served here: use Accept-Encoding and Content-Encoding",
            )
    return request


def check_password(request: Request, expected: str) -> None:
    """Raise unless the request carries the password; any user name goes with it. No password set: everybody may."""
    if not expected:
        return
    given = _text(request.headers.get("x-clickhouse-key", "")) or request.transport.get("password", "")
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith("basic "):
        try:
            given = base64.b64decode(authorization[6:]).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    if not hmac.compare_digest(given.encode(), expected.encode()):
        user = request.headers.get("x-clickhouse-user") or request.transport.get("user") or "default"
        sentence = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
        raise refuse("AUTHENTICATION_FAILED", sentence)


def take_form(request: Request, content_type: str, body: bytes) -> None:
    """A multipart form: fields are parameters, files are external tables named by `NAME_structure`, `NAME_format`."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise refuse("BAD_ARGUMENTS", "The multipart/form-data body has no parts")
    for part in message.iter_parts():
        name = str(part.get_param("name", "", header="content-disposition"))
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if part.get_filename() is None:
            request.take([(name, data.decode("latin-1"))])
        else:
            request.external.append(ExternalTable(name, data))
    for table in request.external:
        table.format = request.settings.pop(f"{table.name}_format", table.format)
        table.structure = request.settings.pop(f"{table.name}_structure", "")
        types = request.settings.pop(f"{table.name}_types", "")
        if types and not table.structure:
            table.structure = ", ".join(f"_{index} {kind}" for index, kind in enumerate(types.split(","), 1))


def _text(value: str) -> str:
    return value.encode("latin-1").decode("utf-8", "surrogateescape")

"""One POST to somebody's address, signed, and never to an address of our own network unless that was allowed.

Belongs here: the request. Does not belong here: when and how often (`deliver`).

The name is resolved once, every address it has is checked, and the connection goes to the address that was checked: a
name that resolves to something else a moment later gains nothing. Redirects are not followed, for the same reason.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
from urllib.parse import urlsplit

TIMEOUT = 10.0


class DeliveryError(Exception):
    """It did not arrive, as far as one can tell. `final`: trying again cannot help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 over `<seconds>.<body>`. Receivers compare it and refuse what is old."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def post(url: str, body: bytes, headers: dict[str, str], *, allow_private: bool) -> None:
    """POST JSON and return when the receiver answered 2xx. Raises DeliveryError naming what happened."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = checked_address(host, port, allow_private=allow_private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        raw = socket.create_connection((address, port), timeout=TIMEOUT)
        secure = parts.scheme == "https"
        connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        said = answer.read(200).decode("utf-8", errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryError(f"{host}:{port}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if 300 <= answer.status < 400:
        raise DeliveryError(f"{host} answered {answer.status}: redirects are not followed", final=True)
    if answer.status >= 400:
        # 408 and 429 ask for patience; other refusals of the request itself will be the same tomorrow.
        final = answer.status < 500 and answer.status not in {408, 429}
        raise DeliveryError(f"{host} answered {answer.status}: {said}", final=final)


def checked_address(host: str, port: int, *, allow_private: bool) -> str:
    """Resolve a name and return one of its addresses. Raises DeliveryError when one of them is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"{host}: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not allow_private and not _is_public(address):
            raise DeliveryError(
                f"{host} is {address}, which is not a public address: `allow_private: true` allows it", final=True
            )
    return addresses[0]


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    return parsed.is_global and not parsed.is_multicast and (inner is None or inner.is_global)

"""One plain text mail through the server of the settings.

Belongs here: the message and the conversation with the server. Does not belong here: when and how often (`deliver`).
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

from orchestration.alerts.webhook import DeliveryError

TIMEOUT = 15.0


def send(smtp_url: str, to: Sequence[str], subject: str, text: str, message_id: str) -> None:
    """Send through `smtp[s]://[user:password@]host[:port]?from=address`. `message_id` names it wherever it goes.

    TLS from the start with smtps; with smtp it is used when the server offers it. Raises DeliveryError.
    """
    parts = urlsplit(smtp_url)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise DeliveryError("TALLY_SMTP_URL is not set to smtp://host or smtps://host", final=True)
    message = EmailMessage()
    message["From"] = parse_qs(parts.query).get("from", [f"tally@{parts.hostname}"])[0]
    message["To"] = ", ".join(to)
    message["Subject"] = " ".join(subject.split())
    message["Message-ID"] = f"<{message_id}@tally>"
    message.set_content(text)
    secure = parts.scheme == "smtps"
    port = parts.port or (465 if secure else 25)
    try:
        server: smtplib.SMTP
        if secure:
            server = smtplib.SMTP_SSL(parts.hostname, port, timeout=TIMEOUT, context=ssl.create_default_context())
        else:
            server = smtplib.SMTP(parts.hostname, port, timeout=TIMEOUT)
        with server:
            server.ehlo()
            if not secure and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)
    except smtplib.SMTPResponseException as error:
        final = 500 <= error.smtp_code < 600
        raise DeliveryError(
            f"{parts.hostname} answered {error.smtp_code}: {error.smtp_error!r}", final=final
        ) from error
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryError(f"{parts.hostname}:{port}: {type(error).__name__}: {error}") from error

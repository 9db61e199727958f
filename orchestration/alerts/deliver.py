"""Delivering what is due: each incident once per channel, with growing pauses while it does not arrive.

Belongs here: the words of a message, retries, giving up. Does not belong here: protocols (`webhook`, `mail`), memory.

A message is sent and then noted as sent; killed in between, it is sent again under the same name (`Idempotency-Key`,
`Message-ID`), by which a receiver knows it.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta

from contracts.alerts.model import Channel, RuleFile, Webhook
from orchestration.alerts.mail import send
from orchestration.alerts.store import AlertStore, Incident, Message
from orchestration.alerts.webhook import DeliveryError, post, signature

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=2)


def deliver_due(store: AlertStore, rules: RuleFile, smtp_url: str, now: datetime) -> int:
    """Try every message whose time has come; returns how many arrived. One that fails stops no other."""
    arrived = 0
    for message in store.due(now):
        incident = store.incident(message.incident)
        try:
            _deliver(rules.channels.get(message.channel), incident, message, smtp_url, now)
        except DeliveryError as error:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(message.attempts, 20))
            given_up = error.final or now + pause > incident.opened + GIVE_UP_AFTER + LONGEST_PAUSE
            store.attempted(message, "failed" if given_up else "due", now + pause, str(error))
        else:
            store.attempted(message, "sent", now, "")
            arrived += 1
    return arrived


def _deliver(channel: Channel | None, incident: Incident, message: Message, smtp_url: str, now: datetime) -> None:
    if channel is None:
        raise DeliveryError(f"there is no channel {message.channel!r} any more", final=True)
    name = f"{message.incident}/{message.channel}"
    if isinstance(channel, Webhook):
        secret = os.environ.get(channel.secret_env, "")
        if not secret:
            raise DeliveryError(f"the environment variable {channel.secret_env} is not set")
        body = json.dumps(document(incident), ensure_ascii=False, sort_keys=True).encode()
        signed = signature(secret, int(now.timestamp()), body)
        headers = {"Tally-Signature": signed, "Idempotency-Key": name, "User-Agent": "tally"}
        post(channel.url, body, headers, allow_private=channel.allow_private)
        return
    send(smtp_url, channel.to, f"[tally] {incident.rule}: {incident.text}", text(incident), name.replace("/", "."))


def document(incident: Incident) -> dict[str, object]:
    """What a webhook receives. Times are ISO 8601, UTC."""
    return {
        "id": incident.id,
        "rule": incident.rule,
        "version": incident.version,
        "group": incident.member,
        "description": incident.description,
        "text": incident.text,
        "value": incident.value,
        "bucket": incident.bucket.isoformat(),
        "since": incident.opened.isoformat(),
    }


def text(incident: Incident) -> str:
    """What a person reads in a mail."""
    group = f" ({incident.member})" if incident.member else ""
    return (
        f"{incident.text}{group}\n\n{incident.description}\nsince {incident.opened:%Y-%m-%d %H:%M} UTC; "
        f"rule {incident.rule} version {incident.version}; incident {incident.id}\n"
        f"To hear no more of it for a day: tally alerts silence {incident.rule} --for 1d\n"
    )

"""Clients that send simulated events to the collector at a steady rate, each batch with a canary to look for.

Belongs here: sending, and noting when. Does not belong here: looking where the canaries arrive.
"""

from __future__ import annotations

import http.client
import random
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from streaming.simulator import FaultRates, SimulatedNetwork, SimulationConfig, deliver

CLIENTS = 4
PAUSE = (0.05, 0.2)  # seconds between two batches of one client
CLEAN = FaultRates(late=0, duplicate=0, broken=0)

# A canary is an event of a network of its own whose object is its id.
_CANARY = (
    '{{"event_id":"{id}","type":"post.created","network":"canary","actor":"bird","object":"{id}",'
    '"occurred_at":"{at}","sdk":"bench/1","schema_version":2}}'
)


@dataclass
class Sent:
    """Of each canary, the moments (time.perf_counter) just before its POST and just after its answer."""

    began: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)


def rows(rate: float, seconds: float) -> list[bytes]:
    """Return the simulated rows of so many seconds from now; never the same ones twice."""
    network = SimulatedNetwork(SimulationConfig(seed=time.time_ns() % 2**31, rate=rate, steady=True))
    start = datetime.now(UTC)
    windows = network.windows(start, start + timedelta(seconds=seconds + 10))
    found = [row for number in windows for row in deliver(network.window(number), CLEAN, 7, number).rows]
    return found[: round(rate * seconds)]


class Client:
    """One connection to the collector."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, rows: Sequence[bytes]) -> None:
        headers = {"Authorization": "Bearer demo-write-key", "Content-Type": "application/x-ndjson"}
        self._connection.request("POST", "/v1/events?verdicts=none", b"\n".join(rows), headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:500]

    def stream(self, rows: Sequence[bytes], rate: float, seed: int, sent: Sent) -> None:
        """Send at `rate` in batches at random moments, each with a canary."""
        chance = random.Random(seed)
        at, due = 0.0, time.perf_counter()
        while int(at) < len(rows):
            pause = chance.uniform(*PAUSE)
            batch = rows[int(at) : int(at + rate * pause)]
            at += rate * pause
            due += pause
            time.sleep(max(0.0, due - time.perf_counter()))
            name = str(uuid.uuid4())
            canary = _CANARY.format(id=name, at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z").encode()
            sent.began[name] = time.perf_counter()
            self.post([*batch, canary])
            sent.answered[name] = time.perf_counter()


def send(port: int, rows: Sequence[bytes], rate: float, sent: Sent) -> float:
    """Send the rows at that rate over a few connections; return the events a second that were really sent."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        shares = [rows[number::CLIENTS] for number in range(CLIENTS)]
        clients = [Client(port) for _ in shares]
        work = [
            pool.submit(client.stream, share, rate / CLIENTS, seed, sent)
            for seed, (client, share) in enumerate(zip(clients, shares, strict=True))
        ]
        for each in work:
            each.result()
        return len(rows) / (time.perf_counter() - began)

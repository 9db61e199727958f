"""The API's own numbers in Prometheus' text format.

Belongs here: counters, one histogram, rendering. Does not belong here: business metrics, anything of one workspace:
whoever may scrape this learns nothing of anyone's data.
Written from the event loop only, hence no locks. Names carry their unit; labels are few and bounded.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_HELP = {
    "cache": "Questions by where their answer came from: local and shared are tiers of the cache, store was computed.",
    "waited": "Questions that waited for the same question of someone else, and count under none of the above.",
    "cache_problems": "Times the shared cache did not answer; questions are computed then.",
    "version_reads": "Times the store was asked how far it is, for all questions together.",
}


class Telemetry:
    """Totals since the process started."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.answers: Counter[str] = Counter(local=0, shared=0, store=0)
        self.waited = 0
        self.cache_problems = 0
        self.version_reads = 0
        self.local_bytes = 0
        self.live_clients = 0
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, status: int, seconds: float) -> None:
        self.requests[status] += 1
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._sum += seconds

    def render(self) -> str:
        lines = [
            "# HELP tally_api_requests_total Requests answered, by HTTP status.",
            "# TYPE tally_api_requests_total counter",
            *(f'tally_api_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.requests.items())),
            f"# HELP tally_api_answers_total {_HELP['cache']}",
            "# TYPE tally_api_answers_total counter",
            *(f'tally_api_answers_total{{from="{tier}"}} {n}' for tier, n in sorted(self.answers.items())),
        ]
        for name in ("waited", "cache_problems", "version_reads"):
            lines += [
                f"# HELP tally_api_{name}_total {_HELP[name]}",
                f"# TYPE tally_api_{name}_total counter",
                f"tally_api_{name}_total {getattr(self, name)}",
            ]
        lines += [
            "# HELP tally_api_local_cache_bytes Answers held by this process.",
            "# TYPE tally_api_local_cache_bytes gauge",
            f"tally_api_local_cache_bytes {self.local_bytes}",
            "# HELP tally_api_live_clients Clients that receive live updates.",
            "# TYPE tally_api_live_clients gauge",
            f"tally_api_live_clients {self.live_clients}",
            "# HELP tally_api_request_seconds Time from headers to the end of the answer's head.",
            "# TYPE tally_api_request_seconds histogram",
        ]
        total = 0
        for bound, n in zip((*map(str, _BUCKETS), "+Inf"), self._buckets, strict=True):
            total += n
            lines.append(f'tally_api_request_seconds_bucket{{le="{bound}"}} {total}')
        lines += [f"tally_api_request_seconds_sum {self._sum:.6f}", f"tally_api_request_seconds_count {total}"]
        return "\n".join(lines) + "\n"


class Observed:
    """Middleware that measures every request."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._telemetry.observe(message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, sent)

"""The collector's own numbers in Prometheus' text format.

Belongs here: counters, one histogram, rendering. Does not belong here: business metrics (dbt_project).
Each number has one writer, hence no locks. Names carry their unit; labels are few and bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from streaming.intake import Admission

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Totals since the process started."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.rows: Counter[str] = Counter()
        self.bytes_received = 0
        self.appends = 0
        self.append_rows = 0
        self.unknown_fields = 0
        self.type_changes = 0
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def observe_request(self, status: int, seconds: float) -> None:
        self.requests[status] += 1
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._sum += seconds

    def observe_append(self, messages: int) -> None:
        """Called from the appending thread only."""
        self.appends += 1
        self.append_rows += messages

    def observe_admission(self, admission: Admission) -> None:
        self.rows["accepted"] += admission.accepted - admission.duplicates
        self.rows["duplicate"] += admission.duplicates
        self.rows["quarantined"] += sum(admission.quarantined.values())
        self.unknown_fields += sum(admission.unknown_fields.values())
        self.type_changes += sum(admission.type_changes.values())

    def render(self, in_flight_bytes: int) -> str:
        lines = [
            "# HELP tally_collector_requests_total Requests answered, by HTTP status.",
            "# TYPE tally_collector_requests_total counter",
            *(
                f'tally_collector_requests_total{{status="{status}"}} {n}'
                for status, n in sorted(self.requests.items())
            ),
            "# HELP tally_collector_rows_total Rows answered, by verdict.",
            "# TYPE tally_collector_rows_total counter",
            *(f'tally_collector_rows_total{{verdict="{verdict}"}} {n}' for verdict, n in sorted(self.rows.items())),
            "# HELP tally_collector_received_bytes_total Body bytes received, before decompression.",
            "# TYPE tally_collector_received_bytes_total counter",
            f"tally_collector_received_bytes_total {self.bytes_received}",
            "# HELP tally_collector_in_flight_bytes Body bytes held by unanswered requests.",
            "# TYPE tally_collector_in_flight_bytes gauge",
            f"tally_collector_in_flight_bytes {in_flight_bytes}",
            "# HELP tally_collector_appends_total Group commits to the event log.",
            "# TYPE tally_collector_appends_total counter",
            f"tally_collector_appends_total {self.appends}",
            "# HELP tally_collector_appended_rows_total Rows in these group commits.",
            "# TYPE tally_collector_appended_rows_total counter",
            f"tally_collector_appended_rows_total {self.append_rows}",
            "# HELP tally_collector_unknown_fields_total Fields that a mapping does not know; they are kept.",
            "# TYPE tally_collector_unknown_fields_total counter",
            f"tally_collector_unknown_fields_total {self.unknown_fields}",
            "# HELP tally_collector_type_changes_total Values of another JSON type than the mapping expects.",
            "# TYPE tally_collector_type_changes_total counter",
            f"tally_collector_type_changes_total {self.type_changes}",
            "# HELP tally_collector_request_seconds Time from headers to answer.",
            "# TYPE tally_collector_request_seconds histogram",
        ]
        total = 0
        for bound, n in zip((*map(str, _BUCKETS), "+Inf"), self._buckets, strict=True):
            total += n
            lines.append(f'tally_collector_request_seconds_bucket{{le="{bound}"}} {total}')
        lines += [
            f"tally_collector_request_seconds_sum {self._sum:.6f}",
            f"tally_collector_request_seconds_count {total}",
        ]
        return "\n".join(lines) + "\n"

"""Which tables hold the rows of a fact dataset's builds, and by which UTC day their seals name them.

Belongs here: that map, which builders, cleaning and the audit share. Does not belong here: making builds
(`assets.publishing`), reading them (`dbt_project/macros/sealed.sql`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_DAY = "toStartOfDay(bucket, 'UTC')"

FACT_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "sessions": {"facts_builds": _DAY, "sessions_builds": "bucket"},
        "ads": {"facts_builds": _DAY, "ad_credits_builds": "toStartOfDay(converted_at, 'UTC')"},
        "ad_returns": {"facts_builds": _DAY},
        "trends": {"facts_builds": _DAY},
    }
)
"""Tables by dataset, each with the SQL of the day. `facts_builds` is shared: its column `dataset` tells them apart."""

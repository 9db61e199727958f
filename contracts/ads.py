"""What ad events say in their properties, and the versioned rules by which they are judged and credited (`ads.yaml`).

Belongs here: names, the model of the rules, loading them. Does not belong here: applying them (`analytics.ad_traffic`,
`analytics.attribution`).

Properties of ad events, all optional: `advertiser`, `placement`, `channel`, `device`, `age`, `gender`, `country`,
`click_id`, `conversion_id`, `ip`, `user_agent` (text), `bot` (true or false), `amount_minor` (integer minor units)
and `currency` (ISO 4217). The amount of an `ad.converted` is revenue, that of any other ad event is cost.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from contracts.settings_file import read_setting

RULES_FILE = Path(__file__).resolve().with_name("ads.yaml")

TouchKind = Literal["click", "engagement", "view"]
TOUCH_KINDS: tuple[TouchKind, ...] = ("click", "engagement", "view")
"""In order of priority: of touches at the same instant those of the first kind count."""

TOUCH_OF_TYPE: dict[str, TouchKind] = {"ad.clicked": "click", "ad.engaged": "engagement", "ad.viewed": "view"}

TEXT_PROPERTIES = (
    *("advertiser", "placement", "channel", "device", "age", "gender", "country"),
    *("click_id", "conversion_id", "ip", "user_agent", "currency"),
)

SEGMENTS = ("campaign", "ad", "advertiser", "placement", "device", "age", "gender", "country")
"""Dimensions by which ad numbers are split; a value that an event does not give is `unknown`."""

REASONS = ("bot", "data_center", "duplicate", "too_fast")
"""Why an event is removed as invalid traffic; of several reasons the first in this order is given."""

AMOUNT_REASONS = ("not_an_amount", "negative", "too_large", "other_currency")
"""Why an amount enters no sum; of several reasons the first in this order is given."""

MODELS = ("first", "last", "last_non_direct", "linear", "position", "decay")
"""Attribution models; formulas: docs/definitions.md, Ads."""

MOST_MINOR = 10**12
"""Amounts above it are refused: they are errors, and exact arithmetic in 64 bits ends not far beyond."""

Hours = Annotated[int, Field(ge=1, le=24 * 90)]


class AdRulesError(ValueError):
    """The rules are wrong; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InvalidTraffic(_Part):
    """What is no person's doing."""

    bot_agents: tuple[Annotated[str, Field(min_length=2)], ...]
    data_centers: tuple[str, ...]
    duplicate_click_ms: Annotated[int, Field(ge=0)]
    too_fast_ms: Annotated[int, Field(ge=0)]
    memory_hours: Annotated[int, Field(ge=1, le=24 * 7)]

    @field_validator("data_centers")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text)
        return value


class AdRules(_Part):
    """The rules in force; `version` is named by every answer that rests on them."""

    version: Annotated[int, Field(ge=1)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    look_back_hours: dict[TouchKind, Hours]
    advertisers: dict[str, dict[TouchKind, Hours]] = {}
    half_life_hours: Hours
    direct_channels: tuple[str, ...]
    invalid_traffic: InvalidTraffic
    smallest_segment: Annotated[int, Field(ge=1)]
    advertiser_from: dict[str, Literal["object", "campaign"]] = {}

    @field_validator("look_back_hours")
    @classmethod
    def _names_every_kind(cls, value: dict[TouchKind, int]) -> dict[TouchKind, int]:
        missing = [kind for kind in TOUCH_KINDS if kind not in value]
        if missing:
            raise ValueError(f"has no value for {', '.join(missing)}")
        return value

    @property
    def lead(self) -> timedelta:
        """How long before a conversion its judged touches, and what judges these, can lie."""
        return timedelta(hours=self.longest_look_back_hours + self.invalid_traffic.memory_hours)

    @property
    def longest_look_back_hours(self) -> int:
        every = [self.look_back_hours, *self.advertisers.values()]
        return max(hours for kinds in every for hours in kinds.values())

    def look_back_ms(self, advertiser: str, kind: TouchKind) -> int:
        own = self.advertisers.get(advertiser, {})
        return own.get(kind, self.look_back_hours[kind]) * 3_600_000


def load_rules(path: Path) -> AdRules:
    """Read and check a file of rules. Raises AdRulesError naming file and key."""
    return read_setting(path, AdRules, AdRulesError)


@cache
def ad_rules() -> AdRules:
    """Tally's own rules."""
    return load_rules(RULES_FILE)

"""The asset `trends`.

Belongs here: what it is called and what it says of itself. Does not belong here: the work (`build`).
"""

from assets.facts.asset import fact_asset
from assets.families import families

trends = fact_asset(
    next(family for family in families() if family.dataset == "trends"),
    domain="trends",
    docs="docs/trends.md",
    description=(
        "Which topics were on the trending boards of a day, for how long: computed from published slices, another way "
        "than the live boards, with late events in their place."
    ),
)

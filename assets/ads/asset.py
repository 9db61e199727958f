"""The assets `ads` and `ad_returns`.

Belongs here: what they are called and what they say of themselves. Does not belong here: the work (`build`).
"""

from assets.facts.asset import fact_asset
from assets.families import families

_FAMILY = {family.dataset: family for family in families()}
_DOCS = "docs/ads.md"

ads = fact_asset(
    _FAMILY["ads"],
    domain="ads",
    docs=_DOCS,
    description=(
        "Ad performance by day: impressions, clicks, conversions and cost, raw and with invalid traffic removed by "
        "reason, and what conversions credit to campaigns and other segments by six attribution models. The credits of "
        "every conversion, touch by touch, are in `ad_credits`."
    ),
)
ad_returns = fact_asset(
    _FAMILY["ad_returns"],
    domain="ads",
    docs=_DOCS,
    description=(
        "What the ads of a day have earned since, dated by the ad. It grows for as long as the look-back of "
        "conversions is open, each time with restatements."
    ),
)
ADS_ASSETS = [ads, ad_returns]

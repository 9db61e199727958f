"""Ads: performance and attribution, sealed by day.

Belongs here: the fact datasets `ads` and `ad_returns`, and the table of credits. Does not belong here: the mathematics
(`analytics.ads`, `analytics.attribution`), answers (`serving.attribution`).
"""

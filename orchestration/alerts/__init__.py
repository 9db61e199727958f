"""Alerts: rules evaluated on complete buckets, incidents remembered, each told once per channel.

Belongs here: asking the metrics (`evaluate`), remembering (`store`), delivering (`deliver`, `webhook`, `mail`), and the
publisher's tasks (`task`). Does not belong here: what is bad and when an incident begins (`analytics.incidents`), the
model of a rule (`contracts.alerts`), Dagster.
"""

"""Input workers: consumer groups that carry the event log into the raw store (`raw`) and ClickHouse (`live`).

Belongs here: batching, announcing, deduplication, quarantine on the way, retry, drain. Does not belong here: a store's
protocol (`resources`) or the formulas of metrics (`dbt_project`).
"""

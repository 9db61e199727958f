"""The mathematics of Tally's metrics: pure functions over polars frames and numbers.

Belongs here: sessions, journeys, trends, attribution, social metrics, anomalies. Does not belong here: I/O, the clock,
SQL (`dbt_project`), what an event is (`contracts`).
"""

"""The event log's hours, reconciled and archived: what came in, where every row is, and Parquet parts that prove it.

Belongs here: one ingest hour at a time, by log position. Does not belong here: event hours, filtering, aggregates.
"""

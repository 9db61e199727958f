"""Long-running work: intake, collector, sources and input workers.

Belongs here: loops that move events. Does not belong here: Dagster, and the SQL of a metric.
"""

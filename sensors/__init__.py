"""Dagster sensors: they notice, and ask for a run.

Belongs here: cursors and run requests. Does not belong here: processing messages.
"""

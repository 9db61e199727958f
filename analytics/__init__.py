"""Mathematics of social data, without I/O.

Belongs here: functions from frames or numbers to frames or numbers. Does not belong here: stores, clocks, Dagster.
"""

"""Wiring: settings, Definitions, partitions, jobs, schedules, checks and the `tally` command line.

Belongs here: decisions about what runs when, with which stores. Does not belong here: work another room could do.
Nothing imports this package.
"""

"""The local stack: which processes it has, and how they are started, watched, described and stopped.

Belongs here: everything about processes (supervisord's configuration, ports, health, leftovers, the status report).
Does not belong here: what a process does inside, and how the command line prints things (`orchestration.cli`).
No module here imports Dagster: `tally up` must not pay for it.
"""

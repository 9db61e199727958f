"""How Dagster's runs get their processes.

Belongs here: the run launcher, the run host with its warm workers. Does not belong here: what a run does.

    launcher.py   Dagster's extension point: asks the run host for a process, else does as Dagster's default launcher
    host.py       the run host: hands runs to warm workers, keeps one ready; imports nothing heavy
    worker.py     a process that has imported the definitions and executes one run after the other
    protocol.py   what launcher and host say to each other

Why: docs/decisions/0007-warm-run-workers.md.
"""

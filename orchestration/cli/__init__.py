"""The `tally` command line.

Belongs here: arguments, tables, progress, exit codes. Does not belong here: work; each command calls one function of
another room. Modules here import nothing heavy at their top (`tally --help` answers in under 0.4 s): what a command
needs is imported inside it.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script `tally`."""
    from orchestration.cli.app import app

    app()

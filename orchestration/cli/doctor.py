"""`doctor`: what is wrong here, and how to mend it.

Belongs here: printing findings. Does not belong here: looking (`orchestration.stack.doctor`).
"""

from __future__ import annotations

import typer

from orchestration.cli.context import load_settings
from orchestration.cli.errors import ExitCode
from orchestration.cli.output import JsonFlag, bad, good, out, print_json, warn


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Stack")(doctor)


def doctor(json: JsonFlag = False) -> None:
    """Check Python, packages, memory, disk, ports, engines, processes and stores. Exit code 1 when a check fails.

    Example: [bold]tally doctor[/]
    """
    from orchestration.stack.doctor import examine

    console, found = out(), []
    for finding in examine(load_settings()):
        found.append(finding)
        if json:
            continue
        mark = {"ok": good("  ok  "), "warn": warn(" warn "), "fail": bad(" FAIL ")}[finding.level]
        console.print(mark, end="")
        console.print(f"{finding.name:<18} {finding.detail}", markup=False)
        if finding.fix:
            console.print(f"{'':<25}→ {finding.fix}", markup=False)
    failed = sum(finding.level == "fail" for finding in found)
    if json:
        print_json({"ok": not failed, "findings": found})
    elif not failed:
        console.print("All is well." if all(each.level == "ok" for each in found) else "Nothing stands in the way.")
    if failed:
        raise typer.Exit(ExitCode.PROBLEM)

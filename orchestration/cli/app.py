"""The command tree, and the one place where an exception becomes a message and an exit code.

Belongs here: registering commands and handling errors. Does not belong here: any command's body.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from orchestration.cli.errors import ExitCode, explain

METRICS_DIR = Path(__file__).resolve().parents[2] / "contracts" / "metrics"

EPILOG = (
    "Exit codes: 0 fine · 1 a problem was found (unbalanced ledger, live differs from sealed, rows lost) · "
    "2 wrong usage (argument, file, mapping) · 3 a store or process is unavailable · "
    "70 a bug (TALLY_DEBUG=1 shows where)."
)


class TallyGroup(TyperGroup):
    """Runs a command; errors become one message on stderr (and `{"error": …}` on stdout with --json)."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Typer names commands that are spelt nearly alike; where there are none, a metric may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:
            message = getattr(error, "message", "")
            if message.startswith("No such command") and "Did you mean" not in message:
                error.message = f"{message} {_meant(args[0], list(self.commands))}"  # type: ignore[attr-defined]  # click's
            raise

    def invoke(self, ctx: Any) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (head, less) has seen enough. Python would complain once more while closing stdout.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives until the process ends
            raise typer.Exit(ExitCode.OK) from None
        except Exception as error:
            # click's own errors (wrong option, missing argument) know how to show themselves.
            if hasattr(error, "exit_code") and hasattr(error, "format_message"):
                raise
            if os.environ.get("TALLY_DEBUG") == "1":
                raise
            _tell(error, as_json=as_json)
            raise typer.Exit(explain(error).code) from None


def _meant(word: str, commands: list[str]) -> str:
    """What to say of a word that is no command: the metrics it begins, commands a little like it, or all commands."""
    metrics = sorted(path.stem for path in METRICS_DIR.glob("*.yaml"))
    if named := [name for name in metrics if name.startswith(word)] or get_close_matches(word, metrics):
        return f"There are metrics of such a name: {', '.join(f'`tally query {name}`' for name in named[:3])}."
    near = get_close_matches(word, commands, cutoff=0.4)
    return f"Did you mean {', '.join(map(repr, near))}?" if near else f"Commands: {', '.join(sorted(commands))}."


def _tell(error: Exception, *, as_json: bool) -> None:
    from orchestration.cli.output import err, print_json

    failure = explain(error)
    if as_json:
        print_json({"error": {"message": failure.message, "hint": failure.hint, "exit_code": int(failure.code)}})
    console = err()
    console.print("[bold red]error:[/] ", end="")
    console.print(failure.message, markup=False)
    if failure.hint:
        console.print(f"  {failure.hint}", markup=False, style="yellow")


app = typer.Typer(
    name="tally",
    cls=TallyGroup,
    help="Tally: social analytics you can prove. Every event is kept, every number can be traced to its events.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _register() -> None:
    from orchestration.cli import (
        alerts,
        attribution,
        audit,
        demo,
        doctor,
        explain,
        ingest,
        journeys,
        keys,
        mapping,
        proof,
        quarantine,
        query,
        replay,
        sealing,
        simulate,
        social,
        stack,
        tracing,
        trends,
    )

    for module in (
        stack,
        demo,
        doctor,
        ingest,
        journeys,
        simulate,
        mapping,
        query,
        trends,
        attribution,
        social,
        alerts,
        keys,
        sealing,
        proof,
        audit,
        explain,
        replay,
        quarantine,
        tracing,
    ):
        module.register(app)


_register()

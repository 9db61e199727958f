"""Exit codes, and what each kind of error looks like to a person.

Belongs here: turning an exception into one message, one hint and one exit code. Does not belong here: raising them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may rely on; printed in `tally --help`."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERNAL = 70
    INTERRUPTED = 130


class CliError(Exception):
    """An error with a message that names the value and the place, a hint what to do, and its exit code."""

    def __init__(self, message: str, *, hint: str = "", code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


@dataclass(frozen=True, slots=True)
class Failure:
    message: str
    hint: str
    code: ExitCode


_DOWN = ExitCode.UNAVAILABLE
# Base classes of the rooms' errors; every one of them promises a message that names the value and the place.
_STORE_NAMES = frozenset(
    {
        "EventLogError",
        "RawStoreError",
        "ArchiveError",
        "ClickHouseError",
        "ClickHouseUnavailableError",
        "SchemaVersionError",
        "AccessUnavailableError",
        "RedisError",
        "TransportError",
        "HTTPStatusError",
    }
)
_USAGE_NAMES = frozenset(
    {"MappingError", "SourceError", "QueryError", "CatalogueError", "AlertRuleError"}
    | {"AdRulesError", "AccountsError", "OwnOnlyError", "AccessError"}
)
_START_HINT = "`tally status` shows what runs, `tally up` starts it"


def explain(error: BaseException) -> Failure:
    """Describe any exception. The classes of the stores are matched by name: importing them would cost each start."""
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error) or type(error).__name__
    if isinstance(error, CliError):
        failure = Failure(message, error.hint, error.code)
    elif "ProcessFailedError" in names:
        failure = Failure(_with_log(error), "what did start keeps running: `tally status`, `tally down`", _DOWN)
    elif "StackError" in names:
        failure = Failure(message, "", _DOWN)
    elif "ValidationError" in names and hasattr(error, "errors"):
        failure = Failure(_settings_message(error), "", ExitCode.USAGE)
    elif names & _USAGE_NAMES:
        failure = Failure(message, "", ExitCode.USAGE)
    elif "Failure" in names and hasattr(error, "allow_retries"):  # dagster.Failure: a run said why it failed
        failure = Failure(message, "`tally dagster` shows the run", ExitCode.PROBLEM)
    elif names & _STORE_NAMES:
        failure = Failure(_one_line(error, names, message), _START_HINT, _DOWN)
    elif isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        about_file = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError)
        failure = Failure(f"{place}{error.strerror}", "", ExitCode.USAGE if about_file else _DOWN)
    else:
        text = f"unexpected {type(error).__name__}: {message}"
        failure = Failure(text, "TALLY_DEBUG=1 shows the traceback", ExitCode.INTERNAL)
    return failure


def _one_line(error: BaseException, names: set[str], message: str) -> str:
    """Say what a driver tells on many lines, with addresses of its own objects, in one; a store's own words stay."""
    if "ClickHouseError" not in names or "Code: " in message:
        return message
    from resources.clickhouse.client import reason_of

    return f"ClickHouse does not answer: {reason_of(error)}"


def _with_log(error: BaseException) -> str:
    lines = "\n".join(f"    {line}" for line in getattr(error, "log", [])) or "    (it is empty)"
    return f"{error}\n  the end of {getattr(error, 'log_path', 'its log')}:\n{lines}"


def _settings_message(error: BaseException) -> str:
    """Name the environment variable, its value and what is wrong, for each setting that pydantic refused."""
    problems = error.errors(include_url=False)  # type: ignore[attr-defined]  # checked by the caller, without importing pydantic
    lines = []
    for problem in problems:
        name = "_".join(str(part) for part in problem["loc"])
        shown = "" if "key" in name else f"={problem.get('input')!r}"
        lines.append(f"TALLY_{name.upper()}{shown}: {problem['msg']}")
    return "\n".join(lines)

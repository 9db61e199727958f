"""Errors as a ClickHouse server words them: code, name, HTTP status.

Belongs here: what an error is called and which status it travels with. Does not belong here: raising it.
"""

from __future__ import annotations

import re
from typing import Final

CODES: Final = {
    "BAD_ARGUMENTS": 36,
    "NOT_IMPLEMENTED": 48,
    "SYNTAX_ERROR": 62,
    "UNKNOWN_COMPRESSION_METHOD": 89,
    "UNKNOWN_SETTING": 115,
    "INCORRECT_DATA": 117,
    "READONLY": 164,
    "REQUIRED_PASSWORD": 194,
    "TOO_MANY_SIMULTANEOUS_QUERIES": 202,
    "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING": 216,
    "QUERY_IS_TOO_LARGE": 229,
    "CANNOT_DECOMPRESS": 271,
    "INTO_OUTFILE_NOT_ALLOWED": 358,
    "SESSION_NOT_FOUND": 372,
    "SESSION_IS_LOCKED": 373,
    "INVALID_SESSION_TIMEOUT": 374,
    "QUERY_WAS_CANCELLED": 394,
    "ACCESS_DENIED": 497,
    "AUTHENTICATION_FAILED": 516,
    "STD_EXCEPTION": 1001,
}
"""The errors this process raises itself; all others come from the engine with their code."""

_STATUS: Final[dict[int, frozenset[str]]] = {
    401: frozenset({"REQUIRED_PASSWORD"}),
    403: frozenset(
        {"UNKNOWN_USER", "WRONG_PASSWORD", "AUTHENTICATION_FAILED", "SET_NON_GRANTED_ROLE", "ACCESS_DENIED"}
    ),
    400: frozenset(
        [
            "BAD_ARGUMENTS",
            "CANNOT_COMPILE_REGEXP",
            "CANNOT_PARSE_TEXT",
            "CANNOT_PARSE_ESCAPE_SEQUENCE",
            "CANNOT_PARSE_QUOTED_STRING",
            "CANNOT_PARSE_DATE",
            "CANNOT_PARSE_DATETIME",
            "CANNOT_PARSE_NUMBER",
            "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
            "CANNOT_PARSE_IPV4",
            "CANNOT_PARSE_IPV6",
            "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
            "CANNOT_PARSE_UUID",
            "DUPLICATE_COLUMN",
            "ILLEGAL_COLUMN",
            "UNKNOWN_ELEMENT_IN_AST",
            "UNKNOWN_TYPE_OF_AST_NODE",
            "THERE_IS_NO_COLUMN",
            "TOO_DEEP_AST",
            "TOO_BIG_AST",
            "UNEXPECTED_AST_STRUCTURE",
            "SYNTAX_ERROR",
            "INCORRECT_DATA",
            "TYPE_MISMATCH",
            "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
        ]
    ),
    404: frozenset(
        [
            "UNKNOWN_TABLE",
            "UNKNOWN_FUNCTION",
            "UNKNOWN_IDENTIFIER",
            "UNKNOWN_TYPE",
            "UNKNOWN_STORAGE",
            "UNKNOWN_DATABASE",
            "UNKNOWN_SETTING",
            "UNKNOWN_DIRECTION_OF_SORTING",
            "UNKNOWN_AGGREGATE_FUNCTION",
            "UNKNOWN_FORMAT",
            "UNKNOWN_DATABASE_ENGINE",
            "UNKNOWN_TYPE_OF_QUERY",
            "UNKNOWN_ROLE",
        ]
    ),
    408: frozenset({"TIMEOUT_EXCEEDED"}),
    413: frozenset({"QUERY_IS_TOO_LARGE"}),
    415: frozenset({"UNSUPPORTED_MEDIA_TYPE"}),
    501: frozenset({"NOT_IMPLEMENTED"}),
    503: frozenset({"SOCKET_TIMEOUT", "CANNOT_OPEN_FILE", "CANNOT_SCHEDULE_TASK"}),
}
_STATUS_OF: Final = {name: status for status, names in _STATUS.items() for name in names}

_ENGINE_TEXT = re.compile(r"Code: (?P<code>\d+)\. (?P<what>.*)", re.DOTALL)
_NAME = re.compile(r"\((?P<name>[A-Z][A-Z0-9_]+)\)(?: \(version [^)]*\))?\s*$")
_VERSION_SUFFIX = re.compile(r"\s*\(version [^)]*\)\s*$")


class QueryError(Exception):
    """A failed request. `text` is what the client reads, without the version that the server appends."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.name = name
        self.text = text

    @property
    def status(self) -> int:
        """HTTP status, by the same table as the server's."""
        return _STATUS_OF.get(self.name, 500)


def refuse(name: str, sentence: str) -> QueryError:
    """An error of our own, in the server's wording."""
    return QueryError(CODES[name], name, f"Code: {CODES[name]}. DB::Exception: {sentence}. ({name})")


def from_engine(error: BaseException) -> QueryError:
    """The engine's exception, which carries everything in its text, as a typed error."""
    found = _ENGINE_TEXT.search(str(error))
    if found is None:
        return refuse("STD_EXCEPTION", str(error))
    text = _VERSION_SUFFIX.sub("", found.group(0)).strip()
    named = _NAME.search(text)
    return QueryError(int(found.group("code")), named.group("name") if named else "", text)

"""Just enough of the SQL grammar to serve a statement: where inserted data starts, where the FORMAT clause is.

Belongs here: finding clauses between literals and comments. Does not belong here: judging a statement; the engine does.
Text is held as latin-1, one character per byte, so that positions are byte positions and data need not be text at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, NamedTuple

Kind = Literal["read", "insert", "input", "kill", "other"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
      | (?P<text>'[^'\\]*(?:(?:\\.|'')[^'\\]*)*')
      | (?P<quoted>"[^"\\]*(?:(?:\\.|"")[^"\\]*)*"|`[^`\\]*(?:(?:\\.|``)[^`\\]*)*`)
      | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<number>\d\w*)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_AFTER_FORMAT = re.compile(r"[ \t\f\r]*;?[ \t\f\r]*\n?")
_READING: Final = frozenset({"SELECT", "WITH", "FROM", "VALUES"})


class Token(NamedTuple):
    kind: str
    value: str
    start: int
    end: int
    depth: int


@dataclass(frozen=True)
class Statement:
    """`sql` is the statement; an INSERT's is without FORMAT clause and data, a read's keeps FORMAT at `format_at`."""

    kind: Kind
    sql: str
    format: str | None = None
    format_at: int | None = None
    data_at: int | None = None
    writes_file: bool = False
    several: bool = False

    def into_file(self, path: str, default_format: str) -> bytes:
        """The same read, its output written to `path` by the engine."""
        target = f" INTO OUTFILE '{path}' APPEND "
        if self.format_at is not None:
            text = f"{self.sql[: self.format_at]}\n{target}{self.sql[self.format_at :]}"
        else:
            text = f"{self.sql}\n{target}FORMAT {default_format}"
        return text.encode("latin-1")

    def with_clause(self, clause: str) -> str:
        """An INSERT with `clause` before its SETTINGS, where the grammar wants the source of its data."""
        for token in tokens(self.sql):
            if token.kind == "word" and token.depth == 0 and token.value.upper() == "SETTINGS":
                return self.sql[: token.start] + clause + self.sql[token.start :]
        return self.sql + clause

    def encoded(self) -> bytes:
        return self.sql.encode("latin-1")


def tokens(text: str) -> Iterator[Token]:
    """Tokens without blanks and comments; `depth` counts the brackets around each."""
    depth = 0
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "mark"
        if kind == "tag":
            kind = "heredoc"
        if kind == "space":
            continue
        if kind == "close":
            depth -= 1
        yield Token(kind, found.group(), found.start(), found.end(), depth)
        if kind == "open":
            depth += 1


def parse(text: str) -> Statement:
    """What kind of statement `text` (latin-1) starts with. Never fails: what it does not know is `other`."""
    stream = tokens(text)
    first = next((token for token in stream if token.value != "("), None)
    if first is None or first.kind != "word":
        return Statement("other", text)
    verb = first.value.upper()
    if verb == "INSERT":
        return _parse_insert(text, stream)
    rest = [token for token in stream if token.depth <= first.depth]
    text, rest = _without_semicolon(text, rest)
    name, at = _trailing_format(rest)
    kind: Kind = "read" if verb in _READING else "kill" if verb == "KILL" else "other"
    writes_file = any(a.value.upper() == "INTO" and b.value.upper() == "OUTFILE" for a, b in pairwise(rest))
    several = any(token.value == ";" for token in rest)
    return Statement(kind, text, name, at, writes_file=writes_file, several=several)


def _without_semicolon(text: str, rest: list[Token]) -> tuple[str, list[Token]]:
    while rest and rest[-1].value == ";":
        last = rest.pop()
        text = text[: last.start] + " " + text[last.end :]
    return text, rest


def _trailing_format(rest: list[Token]) -> tuple[str | None, int | None]:
    """`FORMAT name` counts only as the last clause or before a last SETTINGS: `format` is a fine column name."""
    for index in range(len(rest) - 2, -1, -1):
        token, name = rest[index], rest[index + 1]
        if token.kind == "word" and token.value.upper() == "FORMAT" and token.depth == 0 and name.kind == "word":
            after = rest[index + 2] if index + 2 < len(rest) else None
            if after is None or after.value.upper() == "SETTINGS":
                return name.value, token.start
            return None, None
    return None, None


def _parse_insert(text: str, stream: Iterator[Token]) -> Statement:
    named = False
    while (token := next(stream, None)) is not None:
        if token.depth != 0 or token.kind not in {"word", "quoted"}:
            continue
        word = token.value.upper() if token.kind == "word" else ""
        if word in {"INTO", "TABLE", "FUNCTION"} and not named:
            continue
        if not named:
            named = True
        elif word == "VALUES":
            return Statement("insert", text[: token.start], "Values", data_at=token.end)
        elif word == "FORMAT":
            name = next(stream, None)
            if name is None or name.kind != "word":
                break
            after = _AFTER_FORMAT.match(text, name.end)
            return Statement("insert", text[: token.start], name.value, data_at=after.end() if after else name.end)
        elif word == "FROM":
            return Statement("other", text, writes_file=True)
        elif word in {"SELECT", "WITH"}:
            return _insert_from_select(text, stream)
    return Statement("other", text)


def _insert_from_select(text: str, stream: Iterator[Token]) -> Statement:
    ended = asks_input = False
    for token in stream:
        asks_input |= token.kind == "word" and token.value.lower() == "input"
        if asks_input and token.depth == 0 and token.value.upper() == "FORMAT":
            return Statement("input", text)
        if ended and token.value != ";":
            return Statement("other", text, several=True)
        ended = token.depth == 0 and token.value == ";"
    return Statement("other", text)


def rename_identifier(sql: str, name: str, replacement: str) -> str:
    """`sql` with the bare identifier `name` replaced; the same word inside a literal stays."""
    out, last = [], 0
    for token in tokens(sql):
        if token.kind == "word" and token.value.lower() == name:
            out += [sql[last : token.start], replacement]
            last = token.end
    return "".join([*out, sql[last:]])

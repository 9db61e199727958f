"""Frames as Markdown tables, and numbers as people read them.

Belongs here: text. Does not belong here: pictures.
"""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import polars as pl

MOST_ROWS = 12


def table(frame: pl.DataFrame, most: int = MOST_ROWS) -> dg.MarkdownMetadataValue:
    """The first rows as a Markdown table, numbers to the right; a last line says how many rows are not shown."""
    if frame.is_empty():
        return dg.MetadataValue.md("_none_")
    numeric = [dtype.is_numeric() for dtype in frame.dtypes]
    lines = [
        _line(frame.columns),
        _line(["---:" if right else "---" for right in numeric]),
        *(_line([cell(value) for value in row]) for row in frame.head(most).iter_rows()),
    ]
    if frame.height > most:
        lines.append(f"\n… and {frame.height - most:,} rows more")
    return dg.MetadataValue.md("\n".join(lines))


def cell(value: object) -> str:
    """One value: thousands separated, times as UTC to the minute, nothing that breaks out of the table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

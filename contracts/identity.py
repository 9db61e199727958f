"""Event ids: checking the ones that came, deriving the ones that did not.

Belongs here: text → UUID text, in columns. Does not belong here: which columns identify a row (`networks/*.yaml`).
"""

from __future__ import annotations

from uuid import UUID

import polars as pl
import uuid_utils

NAMESPACE = uuid_utils.UUID("6f0d8a52-52b1-5f0c-9b5e-7c1f7a1f60d4")
"""Namespace of derived ids. Never change it: every derived id would change with it."""

SEPARATOR = "\x1f"
"""Between the parts of an identity: ASCII's unit separator, which no source uses within a value."""

_UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_LOWER = pl.col("id").str.to_lowercase()


def canonical_uuid(text: pl.Series) -> pl.Series:
    """Return lower-case UUID text; null where the text is no UUID. Also reads braces and no hyphens."""
    lower, valid = pl.DataFrame({"id": text}).select(_LOWER, _LOWER.str.contains(_UUID_PATTERN).alias("valid"))
    if valid.all():
        return lower
    rest = ~valid & text.is_not_null()
    repaired = pl.Series([_python_uuid(value) for value in text.filter(rest)], dtype=pl.String)
    return lower.scatter(rest.arg_true(), repaired)


def _python_uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


def derive_ids(identity: pl.Series) -> pl.Series:
    """Return the UUIDv5 (RFC 9562) of each identity text: the same text always gives the same id; null stays null."""
    uuid5 = uuid_utils.uuid5
    ids = [None if text is None else str(uuid5(NAMESPACE, text)) for text in identity.to_list()]
    return pl.Series(identity.name, ids, dtype=pl.String)

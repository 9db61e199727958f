"""Hashtags and topics in columns: found in text, folded, each once.

Belongs here: docs' definition of a hashtag as a columnar expression. Does not belong here: counting them.
"""

from __future__ import annotations

from unicodedata import normalize

import polars as pl

_WORD = r"[\p{L}\p{M}\p{N}_]"
_TAG = rf"(?:^|[^\p{{L}}\p{{M}}\p{{N}}_&])#{_WORD}+"
_NOT_ONLY_DIGITS = r"[\p{L}\p{M}_]"


def fold(topic: str) -> str:
    """Return the form under which a topic is counted: NFKC, then case-folded."""
    return normalize("NFKC", topic).casefold()


def extract_hashtags(text: pl.Series) -> pl.Series:
    """Return List(String): the folded hashtags of each text in order, each once; an empty list where there is none.

    A hashtag is `#` and then letters, marks, numbers or `_` of any script, at least one of them not a number, and not
    preceded by such a character or by `&`.
    """
    found = text.fill_null("").str.extract_all(_TAG)
    tags = pl.DataFrame({"row": pl.arange(len(text), eager=True), "tag": found}).explode("tag").drop_nulls()
    tags = tags.with_columns(pl.col("tag").str.extract(r"#([^#]+)$"))
    tags = tags.filter(pl.col("tag").str.contains(_NOT_ONLY_DIGITS))
    return _as_lists(tags, len(text))


def fold_topics(topics: pl.Series) -> pl.Series:
    """Return List(String): given topics without a leading `#`, folded, each once, empty ones left out."""
    given = pl.DataFrame({"row": pl.arange(len(topics), eager=True), "tag": topics}).explode("tag").drop_nulls()
    given = given.with_columns(pl.col("tag").str.strip_prefix("#")).filter(pl.col("tag") != "")
    return _as_lists(given, len(topics))


def _as_lists(tags: pl.DataFrame, height: int) -> pl.Series:
    empty = pl.Series("topics", [[]], dtype=pl.List(pl.String))
    if tags.is_empty():
        return empty.new_from_index(0, height)
    unique = tags["tag"].unique()
    folded = pl.DataFrame({"tag": unique, "folded": [fold(tag) for tag in unique]})
    lists = (
        tags.join(folded, on="tag", how="left", maintain_order="left")
        .unique(["row", "folded"], maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(pl.col("folded"))
    )
    rows = pl.DataFrame({"row": pl.arange(height, eager=True)})
    joined = rows.join(lists, on="row", how="left", maintain_order="left")["folded"]
    return joined.fill_null(pl.lit([], dtype=pl.List(pl.String))).alias("topics")

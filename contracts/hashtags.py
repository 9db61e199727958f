"""Hashtags and topics in columns: found in text, folded, each once.

Belongs here: docs' definition of a hashtag as a columnar expression. Does not belong here: counting them.
"""

from __future__ import annotations

from functools import cache

import polars as pl

_WORD = r"[\p{L}\p{M}\p{N}_]"
_TAG = rf"(?:^|[^\p{{L}}\p{{M}}\p{{N}}_&])#{_WORD}+"
_NOT_ONLY_DIGITS = r"[\p{L}\p{M}_]"


@cache
def hashtags_in(column: str) -> pl.Expr:
    """Return an expression, List(String): the folded hashtags of a text in order, each once; empty where there is none.

    A hashtag is `#` and then letters, marks, numbers or `_` of any script, at least one of them not a number, and not
    preceded by such a character or by `&`.
    """
    tag = pl.element().str.extract(r"#([^#]+)$")
    tags = pl.col(column).fill_null("").str.extract_all(_TAG)
    return _each_once(tags.list.eval(_folded(tag.filter(tag.str.contains(_NOT_ONLY_DIGITS)))))


@cache
def topics_in(column: str) -> pl.Expr:
    """Return an expression, List(String): given topics without a leading `#`, folded, each once, without empty ones."""
    tag = pl.element().str.strip_prefix("#")
    return _each_once(pl.col(column).list.eval(_folded(tag.filter(tag.is_not_null() & (tag != "")))))


def _each_once(topics: pl.Expr) -> pl.Expr:
    return topics.list.unique(maintain_order=True).fill_null(pl.lit([], dtype=pl.List(pl.String)))


def _folded(text: pl.Expr) -> pl.Expr:
    """Return the form under which a topic is counted: NFKC, then Unicode's full case folding."""
    table = _case_folding()
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_many(list(table), list(table.values()))


@cache
def _case_folding() -> dict[str, str]:
    """Return what case folding does beyond lower case, e.g. sharp s to ss and final sigma to sigma."""
    letters = (chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000)
    return {letter: letter.casefold() for letter in letters if letter.lower() == letter != letter.casefold()}

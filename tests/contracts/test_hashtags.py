"""Hashtags: the definition, in any script, against a plain reading of it one character at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.hashtags import hashtags_in, topics_in


def tags(texts: Sequence[str | None]) -> list[list[str]]:
    return pl.DataFrame({"t": texts}, schema={"t": pl.String}).select(hashtags_in("t")).to_series().to_list()


def is_word(char: str) -> bool:
    return char == "_" or unicodedata.category(char)[0] in "LMN"


def plain_hashtags(text: str) -> list[str]:
    """The definition, written separately: no regular expression, no columns."""
    found: list[str] = []
    for at, char in enumerate(text):
        if char != "#" or (at and (is_word(text[at - 1]) or text[at - 1] == "&")):
            continue
        end = at + 1
        while end < len(text) and is_word(text[end]):
            end += 1
        tag = text[at + 1 : end]
        if any(unicodedata.category(letter)[0] != "N" for letter in tag):
            folded = unicodedata.normalize("NFKC", tag).casefold()
            if folded not in found:
                found.append(folded)
    return found


ALPHABET = st.sampled_from(
    [*"##&_ aAbß1٣½²Ⅷ", "ﬁ", "Σ", "ς", "é", "e\u0301", "я", "あ", "한", "ก็", "😀", "\n", ".", "\u200d", "ＡＢ"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ALPHABET, max_size=25).map("".join), min_size=1, max_size=12))
def test_tags_are_those_of_the_definition(texts: list[str]) -> None:
    assert tags(texts) == [plain_hashtags(text) for text in texts]


@pytest.mark.parametrize("texts", [[], [None], ["none here", None, ""]])
def test_no_text_and_no_tag_give_empty_lists(texts: list[str | None]) -> None:
    assert tags(texts) == [[] for _ in texts]


def test_given_topics_are_folded_and_counted_once() -> None:
    given_topics = pl.Series([["#Ünï", "ÜNÏ", "b", "", "#", None, "b"], None, []], dtype=pl.List(pl.String))
    assert pl.DataFrame({"t": given_topics}).select(topics_in("t")).to_series().to_list() == [["ünï", "b"], [], []]

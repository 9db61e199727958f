"""Ids: what counts as a UUID, and derived ids that never change."""

from __future__ import annotations

from uuid import UUID, uuid5

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.identity import NAMESPACE, canonical_uuid, derive_ids


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.uuids().flatmap(lambda u: st.sampled_from([str(u), str(u).upper(), u.hex, f"{{{u}}}", u.urn]))
        | st.text(max_size=40)
    )
)
def test_a_uuid_is_what_python_reads_as_one(texts: list[str]) -> None:
    def plain(text: str) -> str | None:
        try:
            return str(UUID(text))
        except ValueError:
            return None

    assert canonical_uuid(pl.Series(texts, dtype=pl.String)).to_list() == [plain(text) for text in texts]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40)))
def test_derived_ids_are_version_5_of_the_namespace(texts: list[str]) -> None:
    expected = [str(uuid5(UUID(str(NAMESPACE)), text)) for text in texts]
    assert derive_ids(pl.Series(texts, dtype=pl.String)).to_list() == expected


def test_derived_ids_of_this_release_are_those_of_every_release() -> None:
    assert derive_ids(pl.Series(["wikipedia\x1fx", None])).to_list() == ["ecc1f2f6-8093-578d-8baf-062e223fde8d", None]

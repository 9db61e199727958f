"""Boards of trending topics: which there are, and what they are called where they are kept.

Belongs here: names that the publisher writes and readers ask for. Does not belong here: who is on a board.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

KINDS = ("hashtag", "emoji", "link", "object")
"""What a topic can be; dbt_project/macros/trends.sql says from which events."""

WINDOW_NAMES = ("1m", "5m", "15m")
ALL_NETWORKS = "all"


class BoardId(NamedTuple):
    """`network` 'all' is every network of the workspace together."""

    workspace: str
    network: str
    window: str
    kind: str

    @property
    def cache_name(self) -> str:
        return "/".join(("trends", *(quote(part, safe="") for part in self)))


MENTION_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "published": ("post.created", "post.edited", "comment.created", "share.created", "mention.created"),
        "follows": ("link.clicked",),
        "attention": (
            *("post.edited", "comment.created", "share.created", "reaction.added"),
            *("content.viewed", "content.clicked", "content.saved", "link.clicked"),
        ),
    }
)
"""Event types that mention topics: what is published, what follows a link, what gives attention to an object."""

LIST_NAME = "trends"
"""The cache's list of all boards that were published last: a document of BoardIds, without members."""

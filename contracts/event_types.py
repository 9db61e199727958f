"""The vocabulary: every event type, the topic it travels in, what keys it and which engagement it counts as.

Belongs here: facts about a type that hold for every network. Does not belong here: how one network names its types
(`contracts/networks/*.yaml`) or what a metric does with an engagement class (`contracts/metrics/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Family = Literal["user", "content", "ad"]
Engagement = Literal["post", "comment", "share", "reaction", "view", "click", "impression", "conversion", "none"]

USER_EVENTS = "user-events"
CONTENT_EVENTS = "content-events"
AD_EVENTS = "ad-events"
QUARANTINE = "quarantine"

EVENT_TOPICS = (USER_EVENTS, CONTENT_EVENTS, AD_EVENTS)
TOPICS = (*EVENT_TOPICS, QUARANTINE)
"""Every topic of the event log. The first three carry events, the last one refused rows."""

TOPIC_OF_FAMILY: Mapping[Family, str] = MappingProxyType(
    {"user": USER_EVENTS, "content": CONTENT_EVENTS, "ad": AD_EVENTS}
)

_BY_ACTOR = ("actor",)
_BY_OBJECT = ("object", "actor")


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type.

    `key_columns` are envelope columns; the first one that is not empty keys the message, so that everything about one
    actor (or one object) stays in order within one partition. The key is `f"{workspace}/{value}"`.
    """

    name: str
    family: Family
    key_columns: tuple[str, ...]
    engagement: Engagement
    description: str

    @property
    def topic(self) -> str:
        return TOPIC_OF_FAMILY[self.family]


_TABLE = (
    EventType("user.signed_up", "user", _BY_ACTOR, "none", "An account was created; actor is the account."),
    EventType("user.signed_in", "user", _BY_ACTOR, "none", "An account signed in."),
    EventType("user.signed_out", "user", _BY_ACTOR, "none", "An account signed out."),
    EventType("user.updated", "user", _BY_ACTOR, "none", "A profile changed; properties hold the new values."),
    EventType("user.deleted", "user", _BY_ACTOR, "none", "An account was closed."),
    EventType("user.followed", "user", _BY_ACTOR, "none", "Actor follows the account named by object."),
    EventType("user.unfollowed", "user", _BY_ACTOR, "none", "Actor no longer follows the account named by object."),
    EventType("user.blocked", "user", _BY_ACTOR, "none", "Actor blocks the account named by object."),
    EventType("page.viewed", "user", _BY_ACTOR, "view", "A screen or page of an app or site was shown to the actor."),
    EventType("post.created", "content", _BY_OBJECT, "post", "Something new was published; object is its id."),
    EventType("post.edited", "content", _BY_OBJECT, "post", "Something published was changed; object is its id."),
    EventType("post.deleted", "content", _BY_OBJECT, "none", "Something published was taken down; object is its id."),
    EventType("comment.created", "content", _BY_OBJECT, "comment", "A comment or reply; object is what it answers."),
    EventType("comment.deleted", "content", _BY_OBJECT, "none", "A comment or reply was taken down."),
    EventType("share.created", "content", _BY_OBJECT, "share", "A repost, retweet or quote; object is what is shared."),
    EventType("share.deleted", "content", _BY_OBJECT, "none", "A repost was taken back."),
    EventType("mention.created", "content", _BY_OBJECT, "none", "Actor named the account given by object."),
    EventType("reaction.added", "content", _BY_OBJECT, "reaction", "A like, favourite or emoji on object."),
    EventType("reaction.removed", "content", _BY_OBJECT, "none", "A like, favourite or emoji was taken back."),
    EventType("content.viewed", "content", _BY_OBJECT, "view", "The content named by object was seen or played."),
    EventType("content.clicked", "content", _BY_OBJECT, "click", "The content named by object was opened by a click."),
    EventType("content.saved", "content", _BY_OBJECT, "none", "The content named by object was bookmarked."),
    EventType(
        "link.clicked", "content", _BY_OBJECT, "click", "A link within the content named by object was followed."
    ),
    EventType("ad.impression", "ad", _BY_ACTOR, "impression", "The ad named by object was shown to the actor."),
    EventType("ad.viewed", "ad", _BY_ACTOR, "view", "The ad named by object met the viewability rule or was played."),
    EventType("ad.engaged", "ad", _BY_ACTOR, "reaction", "Actor expanded, liked or otherwise engaged with the ad."),
    EventType("ad.clicked", "ad", _BY_ACTOR, "click", "Actor clicked the ad named by object."),
    EventType("ad.converted", "ad", _BY_ACTOR, "conversion", "Actor did what the ad was for (install, purchase)."),
)

EVENT_TYPES: Mapping[str, EventType] = MappingProxyType({entry.name: entry for entry in _TABLE})
"""Every known type by name. A row of any other type is refused with reason `unknown_type`."""

TOPIC_OF_TYPE: Mapping[str, str] = MappingProxyType({entry.name: entry.topic for entry in _TABLE})
ENGAGEMENT_OF_TYPE: Mapping[str, Engagement] = MappingProxyType({entry.name: entry.engagement for entry in _TABLE})

"""The same numbers by plain polars: each data set read and counted without a line of the platform.

Each function returns the events a person would say are in the files: time, type, actor, object, campaign, tags. Rows
that are the same event twice appear once.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from pathlib import Path

import polars as pl

COLUMNS = ("time", "type", "actor", "object", "campaign", "tags")


def _events(frame: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    defaults = {name: pl.lit("") for name in ("object", "campaign")} | {"tags": pl.lit([], dtype=pl.List(pl.String))}
    utc = columns["time"].cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    return frame.select(**{**defaults, **columns, "time": utc}).select(COLUMNS)


def wikipedia(path: Path) -> pl.DataFrame:
    rows = pl.read_ndjson(gzip.decompress(path.read_bytes()), infer_schema_length=None)
    rows = rows.unique(["time", "channel", "page", "user", "delta"])
    return _events(
        rows,
        time=pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ"),
        type=pl.when("isNew").then(pl.lit("post.created")).otherwise(pl.lit("post.edited")),
        actor=pl.col("user"),
        object=pl.col("channel") + "/" + pl.col("page"),
    )


def ira_tweets(paths: list[Path]) -> pl.DataFrame:
    rows = pl.concat([pl.read_csv(path, infer_schema=False) for path in paths])
    return _events(
        rows,
        time=pl.col("publish_date").str.to_datetime("%Y-%m-%d %H:%M:%S"),
        type=pl.when(pl.col("post_type").fill_null("") == "")
        .then(pl.lit("post.created"))
        .otherwise(pl.lit("share.created")),
        actor=pl.col("author_id"),
        tags=_hashtags(rows["content"]),
    )


def emoji_tweets(path: Path) -> pl.DataFrame:
    rows = pl.read_csv(path, infer_schema=False).unique("id")
    return _events(
        rows,
        time=pl.col("created_at").str.to_datetime("%Y-%m-%d %H:%M:%S"),
        type=pl.lit("post.created"),
        actor=pl.col("screen_name"),
        object=pl.col("id"),
        tags=_hashtags(rows["text"]),
    )


def higgs(path: Path) -> pl.DataFrame:
    rows = pl.read_csv(
        gzip.decompress(path.read_bytes()), separator=" ", has_header=False, infer_schema=False,
        new_columns=["actor", "target", "time", "action"],
    ).unique()  # fmt: skip
    return _events(
        rows,
        time=pl.from_epoch(pl.col("time").cast(pl.Int64), "s"),
        type=pl.col("action").replace_strict({"RT": "share.created", "MT": "mention.created", "RE": "comment.created"}),
        actor=pl.col("actor"),
        object=pl.col("target"),
    )


def globo(path: Path) -> pl.DataFrame:
    rows = pl.read_csv(path, infer_schema=False)
    rows = rows.unique(["user_id", "session_id", "click_article_id", "click_timestamp"])
    return _events(
        rows,
        time=pl.from_epoch(pl.col("click_timestamp").cast(pl.Int64), "ms"),
        type=pl.lit("content.clicked"),
        actor=pl.col("user_id"),
        object=pl.col("click_article_id"),
    )


def talkingdata(path: Path) -> pl.DataFrame:
    rows = pl.read_csv(path, infer_schema=False)

    def at(column: str) -> pl.Expr:
        # 2017-11-07 9:30 → 2017-11-07 09:30
        padded = pl.col(column).str.replace(r" (\d):", " 0$1:")
        return padded.str.to_datetime("%Y-%m-%d %H:%M")

    common = {
        "actor": pl.concat_str("ip", "device", "os", separator="/"),
        "object": pl.col("app"),
        "campaign": pl.col("channel"),
    }
    installs = rows.filter(pl.col("attributed_time").is_not_null())
    return pl.concat(
        [
            _events(rows, time=at("click_time"), type=pl.lit("ad.clicked"), **common),
            _events(installs, time=at("attributed_time"), type=pl.lit("ad.converted"), **common),
        ]
    )


def _hashtags(texts: pl.Series) -> pl.Series:
    return pl.Series([_tags(text or "") for text in texts], dtype=pl.List(pl.String))


def _tags(text: str) -> list[str]:
    """Letter by letter: `#` not after a word character or &, then L, M, N or _, not all of them digits."""

    def word(char: str) -> bool:
        return char == "_" or unicodedata.category(char)[0] in "LMN"

    found: dict[str, None] = {}
    for start in (m.start() for m in re.finditer("#", text)):
        if start and (word(text[start - 1]) or text[start - 1] == "&"):
            continue
        end = start + 1
        while end < len(text) and word(text[end]):
            end += 1
        tag = text[start + 1 : end]
        if any(unicodedata.category(char) != "Nd" for char in tag):
            found[unicodedata.normalize("NFKC", tag).casefold()] = None
    return list(found)


def rollup(events: pl.DataFrame, dimension: str) -> pl.DataFrame:
    """bucket (hour), type, member, events, actors: what the platform's hourly rollup of this dimension must hold."""
    member = {"all": pl.lit(""), "object": pl.col("object"), "campaign": pl.col("campaign"), "topic": pl.col("tags")}
    rows = events.with_columns(member=member[dimension])
    if dimension == "topic":
        rows = rows.explode("member")
    if dimension != "all":
        rows = rows.filter(pl.col("member").is_not_null() & (pl.col("member") != ""))
    return (
        rows.group_by(bucket=pl.col("time").dt.truncate("1h"), type="type", member="member")
        .agg(events=pl.len(), actors=pl.col("actor").n_unique())
        .sort("bucket", "type", "member")
    )

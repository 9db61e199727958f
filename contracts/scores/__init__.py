"""Scores: versioned weights, one YAML file per score and version.

Belongs here: reading and checking the files. Does not belong here: computing (`analytics.engagement_score`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.event_types import Engagement

SCORES_DIR = Path(__file__).resolve().parent

_NAME = re.compile(r"(?P<id>[a-z_]+)_v(?P<version>\d+)\.yaml")


class ScoreError(ValueError):
    """A file is wrong, or there is none of that version; the message names it."""


class Score(BaseModel):
    """Weights by engagement class (contracts.event_types); a class without one counts nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    version: Annotated[int, Field(ge=1)]
    title: str
    description: str
    weights: Annotated[Mapping[Engagement, Annotated[int, Field(ge=0)]], Field(min_length=1)]


def load_scores(folder: Path) -> dict[tuple[str, int], Score]:
    """Read every `<id>_v<version>.yaml` of a folder. Raises ScoreError naming the file."""
    found: dict[tuple[str, int], Score] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            score = Score.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (ValidationError, yaml.YAMLError) as error:
            raise ScoreError(f"{path}: {error}") from error
        named = _NAME.fullmatch(path.name)
        if named is None or (named["id"], int(named["version"])) != (score.id, score.version):
            raise ScoreError(f"{path}: the file must be named {score.id}_v{score.version}.yaml")
        found[score.id, score.version] = score
    return found


@cache
def scores() -> dict[tuple[str, int], Score]:
    """Tally's own scores by id and version."""
    return load_scores(SCORES_DIR)


def find_score(name: str = "engagement", version: int | None = None) -> Score:
    """The score of that version, by default the newest. Raises ScoreError naming the versions there are."""
    versions = sorted(number for each, number in scores() if each == name)
    chosen = versions[-1] if version is None and versions else version
    if chosen is None or (name, chosen) not in scores():
        raise ScoreError(f"score {name!r} has versions {', '.join(map(str, versions)) or 'none'}, not {version}")
    return scores()[name, chosen]

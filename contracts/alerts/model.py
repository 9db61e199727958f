"""A rule file: rules of four kinds and the channels that are told, one YAML file or a folder of them.

Belongs here: names, defaults, what is refused and why. Does not belong here: whether a metric exists (who evaluates a
rule knows), secrets (a channel names the environment variable that holds its secret).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Grain = Literal["minute", "hour", "day"]
_ID = r"^[a-z][a-z0-9_-]{0,62}$"
_STRICT = ConfigDict(extra="forbid", frozen=True)


class AlertRuleError(Exception):
    """A rule file is not one; the message names the file, the place in it, and what is wrong."""


class Threshold(BaseModel):
    """Above or below a level. `clear`: the level it must come back to (default: the same)."""

    model_config = _STRICT
    kind: Literal["threshold"]
    above: float | None = None
    below: float | None = None
    clear: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Threshold:
        if (self.above is None) == (self.below is None):
            raise ValueError("a threshold has one of `above` and `below`")
        if self.clear is not None and not self._clears():
            raise ValueError(f"`clear` {self.clear:g} lies on the wrong side of the threshold")
        return self

    def _clears(self) -> bool:
        assert self.clear is not None  # noqa: S101 - asked by the caller
        return self.clear <= self.above if self.above is not None else self.clear >= (self.below or 0.0)


class Change(BaseModel):
    """A rise or fall by a share (0.5: half) against the bucket before, or the same bucket a day or a week before.

    Where the earlier value is below `least`, nothing is said: a rise from 1 to 3 is no news.
    """

    model_config = _STRICT
    kind: Literal["change"]
    against: Literal["previous", "day", "week"] = "previous"
    rise: Annotated[float, Field(gt=0)] | None = None
    fall: Annotated[float, Field(gt=0, le=1)] | None = None
    least: Annotated[float, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _some_side(self) -> Change:
        if self.rise is None and self.fall is None:
            raise ValueError("a change has `rise`, `fall`, or both")
        return self


class Anomaly(BaseModel):
    """Far from the same hour of the week (or of the day) before: modified z, docs/definitions.md."""

    model_config = _STRICT
    kind: Literal["anomaly"]
    season: Literal["hour_of_week", "hour_of_day"] = "hour_of_week"
    direction: Literal["both", "high", "low"] = "both"
    most_readings: Annotated[int, Field(ge=8, le=200)] = 52


class Absence(BaseModel):
    """Nothing at all in a complete bucket (0 or null), once there has ever been something."""

    model_config = _STRICT
    kind: Literal["absence"]


class Rule(BaseModel):
    """One rule on one metric: an incident per group of `by`.

    It opens after `open_after` bad buckets in a row and closes after `close_after` good ones; what lies between (past
    `clear`, say) changes nothing. Bad again within `cool_down_buckets` of its closing, the same incident goes on and
    nobody is told again.
    """

    model_config = _STRICT
    id: Annotated[str, Field(pattern=_ID)]
    version: Annotated[int, Field(ge=1)]
    description: str
    metric: str
    grain: Grain = "hour"
    workspace: str | None = None
    by: Annotated[list[str], Field(max_length=2)] = []
    where: dict[str, list[str]] = {}
    when: Annotated[Threshold | Change | Anomaly | Absence, Field(discriminator="kind")]
    open_after: Annotated[int, Field(ge=1, le=100)] = 1
    close_after: Annotated[int, Field(ge=1, le=100)] = 2
    cool_down_buckets: Annotated[int, Field(ge=0, le=1000)] = 6
    channels: list[str] = []

    @model_validator(mode="after")
    def _season_has_hours(self) -> Rule:
        if isinstance(self.when, Anomaly) and self.grain != "hour":
            raise ValueError("an anomaly is looked for by the hour: leave `grain` out")
        return self


class Webhook(BaseModel):
    """POST of a JSON document, signed with the secret in the environment variable `secret_env`."""

    model_config = _STRICT
    kind: Literal["webhook"]
    url: Annotated[str, Field(pattern=r"^https?://")]
    secret_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    allow_private: bool = False  # True: may reach this machine and the networks around it


class Email(BaseModel):
    """A plain text mail through the server of TALLY_SMTP_URL."""

    model_config = _STRICT
    kind: Literal["email"]
    to: Annotated[list[str], Field(min_length=1)]


Channel = Annotated[Webhook | Email, Field(discriminator="kind")]


class RuleFile(BaseModel):
    model_config = _STRICT
    rules: list[Rule] = []
    channels: dict[str, Channel] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> RuleFile:
        ids = [rule.id for rule in self.rules]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two rules have the id {twice[0]!r}")
        for rule in self.rules:
            if missing := [name for name in rule.channels if name not in self.channels]:
                known = ", ".join(sorted(self.channels)) or "none"
                raise ValueError(f"rule {rule.id!r} names channel {missing[0]!r}; there are {known}")
        return self


def load_rules(path: Path) -> RuleFile:
    """Read a file, or every .yaml of a folder as if they were one. No such path: no rules.

    Raises AlertRuleError naming the file and the place.
    """
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path] if path.exists() else []
    rules: list[object] = []
    channels: dict[str, object] = {}
    for file in files:
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise AlertRuleError(f"{file} is not YAML: {_in_one_line(error)}") from error
        if not isinstance(document, dict):
            raise AlertRuleError(f"{file} does not hold `rules` and `channels` but a {type(document).__name__}")
        _checked(document, str(file), whole=False)
        rules += document.get("rules") or []
        channels |= document.get("channels") or {}
    return _checked({"rules": rules, "channels": channels}, str(path), whole=True)


def _in_one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark else ""
    return place + " ".join(str(getattr(error, "problem", None) or error).split())


def _checked(document: dict[str, object], place: str, *, whole: bool) -> RuleFile:
    """Validate; a file of a folder may name channels of another one."""
    try:
        return RuleFile.model_validate(document)
    except ValidationError as error:
        problems = [problem for problem in error.errors(include_url=False) if problem["loc"] or whole]
        if not problems:
            return RuleFile()
        first = problems[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AlertRuleError(f"{place}: {where + ': ' if where else ''}{first['msg']}") from error

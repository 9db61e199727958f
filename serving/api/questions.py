"""Parameters of a request as a checked question.

Belongs here: reading text, defaults, limits of what one request may ask. Does not belong here: what a name means
(`serving.plan`), HTTP.

Nothing of another workspace enters here: the workspace is the key's, and ranges left open end at the clock, not at the
last event of anyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from serving.api.paging import Place, cursor_range, read_cursor
from serving.api.problems import ProblemError, of_query_error
from serving.errors import QueryError, UnknownNameError
from serving.plan import MetricQuery, check, facts_of, find_metric, make_plan
from serving.timeline import GRAINS, bucket_edges, most_buckets, to_utc, zone

MOST_BUCKETS = 10_000
MOST_ROWS = 10_000
"""Of one page. A grouped answer has more by its cursor."""
MOST_REACHED = 100_000
"""Rows that the pages of one answer may reach together."""
DEFAULT_ROWS = 1_000

_MOST_CHARACTERS = 512
_MOST_CONDITIONS = 200
_FORMS = "a date or time of ISO 8601: 2026-03-01, 2026-03-01T14:30, 2026-03-01T14:30:00Z, 2026-03-01T14:30%2B02:00"
_YEARS = range(1970, 2106)
_DEFAULT_SPAN = {
    "minute": timedelta(hours=1), "hour": timedelta(hours=24), "day": timedelta(days=30), "week": timedelta(weeks=12),
    "month": timedelta(days=365), "total": timedelta(days=30),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request may say about a metric, as text; `where` has the form DIMENSION=VALUE."""

    start: str | None = None
    end: str | None = None
    grain: str = "hour"
    tz: str = "UTC"
    by: Sequence[str] = ()
    where: Sequence[str] = ()
    as_of: str | None = None
    limit: int | None = None
    order: str = "bucket"
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question with start and end. `page`: rows of a page of a grouped answer, from row `offset` on.

    `closed_from`: the end of its range plus what its metric may still grow: when events are complete to there, only
    what is late can change the answer.
    """

    query: MetricQuery
    closed_from: datetime
    offset: int = 0
    page: int | None = None

    @property
    def key(self) -> str:
        """The same text for the same question of the same workspace, and for no other."""
        q = self.query
        parts = (
            q.workspace, q.metric, q.by, q.start and q.start.isoformat(), q.end and q.end.isoformat(), q.grain, q.tz,
            q.as_of and q.as_of.isoformat(), sorted(q.filters.items()), q.limit, q.order, self.offset, self.page,
        )  # fmt: skip
        return repr(parts)


def read_question(metric: str, workspace: str, given: Parameters, now: datetime) -> Question:
    """Return the question of a request. `now` (UTC) ends a range that is left open. Raises ProblemError."""
    for name in (metric, given.grain, given.tz, given.order, *given.by, *given.where):
        _check_text(name)
    by = tuple(part.strip() for each in given.by for part in each.split(",") if part.strip())
    filters = read_filters(given.where, workspace)
    try:
        tz = zone(given.tz)
        start, end = _range(given, tz, now)
        query = check(
            MetricQuery(
                metric=metric,
                by=by,
                start=start,
                end=end,
                grain=given.grain,  # type: ignore[arg-type]  # `check` names the known ones
                tz=given.tz,
                as_of=read_time("as_of", given.as_of, tz) if given.as_of else None,
                workspace=workspace,
                filters=filters,
                order=given.order,  # type: ignore[arg-type]  # likewise
            )
        )
        if query.as_of is not None and query.as_of > now:
            raise ProblemError("bad-parameter", "as_of: is in the future", parameter="as_of", value=given.as_of)
        if most_buckets(query.grain, start, end) - 2 > MOST_BUCKETS:
            raise ProblemError(
                "too-large",
                f"more than {MOST_BUCKETS:,} buckets of a {query.grain} from {start.isoformat()} to {end.isoformat()};"
                " take a coarser grain or a shorter range",
                parameter="from, to",
            )
        facts = facts_of(find_metric(metric))
        question = _paged(query, given, end + (facts.settles if facts else timedelta()))
        make_plan(question.query, (start, end))  # for what only the plan refuses, before a store is asked
        return question
    except QueryError as error:
        raise of_query_error(error) from error


def read_explained(metric: str, workspace: str, given: Parameters, at: datetime, now: datetime) -> Question:
    """Return the question whose one number, in the bucket that holds `at`, is explained. Raises ProblemError."""
    try:
        start, end = bucket_at(given.grain, zone(given.tz), at)
    except QueryError as error:
        raise of_query_error(error) from error
    whole = replace(given, start=start.isoformat(), end=end.isoformat())
    return read_question(metric, workspace, whole, now)


def read_filters(where: Sequence[str], workspace: str) -> dict[str, list[str]]:
    """Return DIMENSION=VALUE conditions as values by dimension. Raises ProblemError, also for another workspace."""
    if len(where) > _MOST_CONDITIONS:
        raise ProblemError("too-large", f"{len(where)} conditions, at most {_MOST_CONDITIONS}", parameter="where")
    filters: dict[str, list[str]] = {}
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals or not name:
            raise ProblemError(
                "bad-parameter", "where: is not of the form DIMENSION=VALUE", parameter="where", value=condition
            )
        if name == "workspace" and value != workspace:
            raise ProblemError("not-allowed", "a key sees its own workspace only", parameter="where")
        filters.setdefault(name, []).append(value)
    return filters


def read_time(parameter: str, text: str, tz: ZoneInfo) -> datetime:
    """Return the instant in UTC; a time without an offset is local to `tz`. Raises ProblemError."""
    _check_text(text)
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.year in _YEARS:
            return to_utc(moment, tz)
    except (ValueError, OverflowError):
        pass
    raise ProblemError(
        "bad-parameter", f"{parameter}: is not {_FORMS}, from 1970 to 2105", parameter=parameter, value=text
    ) from None


def bucket_at(grain: str, tz: ZoneInfo, moment: datetime) -> tuple[datetime, datetime]:
    """Start and end of the bucket that holds an instant. Raises UnknownNameError for the grain."""
    for known in GRAINS:
        if known == grain and known != "total":
            first, last = islice(bucket_edges(known, tz, moment, moment + timedelta(microseconds=1)), 2)
            return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
    raise UnknownNameError("grain", grain, [known for known in GRAINS if known != "total"])


def _range(given: Parameters, tz: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The range asked for. Left open, it ends with the bucket that holds `now`; its length suits the grain."""
    if given.grain not in GRAINS:
        raise UnknownNameError("grain", given.grain, GRAINS)
    whole = "day" if given.grain == "total" else given.grain
    if given.cursor is not None and given.by:
        first, last = cursor_range(given.cursor)
        return (
            read_time("from", given.start, tz) if given.start else first,
            read_time("to", given.end, tz) if given.end else last,
        )
    end = read_time("to", given.end, tz) if given.end else bucket_at(whole, tz, now)[1]
    if given.start:
        return read_time("from", given.start, tz), end
    reached = max(end - _DEFAULT_SPAN[given.grain], datetime(1970, 1, 8, tzinfo=UTC))
    return bucket_at(whole, tz, reached)[0], end


def _paged(query: MetricQuery, given: Parameters, closed_from: datetime) -> Question:
    if given.limit is not None and not 1 <= given.limit <= MOST_ROWS:
        raise ProblemError(
            "bad-parameter", f"limit: must be from 1 to {MOST_ROWS:,}", parameter="limit", value=str(given.limit)
        )
    if not query.by:
        if given.cursor is not None:
            raise ProblemError("bad-cursor", "cursor: only answers with groups (by) have pages", parameter="cursor")
        return Question(replace(query, limit=given.limit), closed_from)
    page = given.limit or DEFAULT_ROWS
    place = Place(query.as_of, 0)
    if given.cursor is not None:
        place = read_cursor(given.cursor, query)
    if place.offset + page > MOST_REACHED:
        raise ProblemError(
            "too-large",
            f"pages reach at most {MOST_REACHED:,} rows of one answer; filter, take a coarser grain, or export",
            parameter="cursor" if given.cursor else "limit",
        )
    # One row more than the page tells whether there is a next one.
    asked = replace(query, as_of=place.as_of, limit=place.offset + page + 1)
    return Question(asked, closed_from, place.offset, page)


def _check_text(text: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise ProblemError("too-large", f"a value has {len(text):,} characters, at most {_MOST_CHARACTERS}", value=text)
    if any(ord(each) < 32 for each in text):
        raise ProblemError("bad-parameter", "a value has control characters", value=repr(text))

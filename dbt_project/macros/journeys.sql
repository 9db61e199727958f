{# Sessions that readers see: published ones, and live ones of days that are not published. #}
{% macro session_rows(condition='1') %}
{% set columns = 'workspace, network, actor, device_id, session_id, started_at, ended_at, first_event_id, last_event_id, '
    ~ 'events, views, key_events, engaged, entry, exit, campaign, device, goal_minor, goal_currency, steps, path' %}
SELECT {{ columns }}, true AS sealed FROM ({{ published_sessions(condition) }})
UNION ALL
SELECT {{ columns }}, false AS sealed
FROM {{ live_session_rows(condition ~ " AND (toStartOfDay(started_at, 'UTC'), network) NOT IN ("
    ~ published_pairs('sessions') ~ ')') }}
{% endmacro %}

{#
  Runs of `length` steps in the order in which they were taken, with the number of sessions that have them. Of equally
  frequent ones that comes first which was met first, by (time, event id) of the session it was met in.
#}
{% macro top_paths(condition='1') %}
SELECT
    run AS path,
    count() AS sessions,
    uniqExact(workspace, network, actor, device_id) AS people,
    sum(engaged) AS engaged,
    min((started_at, toString(first_event_id))) AS met_first
FROM
(
    SELECT
        *,
        arrayJoin(arrayDistinct(arrayMap(
            at -> arraySlice(path, at, {length:UInt64}),
            range(1, toUInt64(greatest(0, toInt64(length(path)) - toInt64({length:UInt64}) + 1)) + 1)
        ))) AS run
    FROM ({{ session_rows(condition) }})
)
GROUP BY run
ORDER BY sessions DESC, met_first, run
LIMIT {limit:UInt64}
{% endmacro %}

{# First or last items of sessions, as `side` says (entry, exit); sessions without any item are not among them. #}
{% macro session_ends(side, condition='1') %}
SELECT
    {{ side }} AS item,
    count() AS sessions,
    sum(engaged) AS engaged,
    min((started_at, toString(first_event_id))) AS met_first
FROM ({{ session_rows(condition) }})
WHERE item != ''
GROUP BY item
ORDER BY sessions DESC, met_first, item
LIMIT {limit:UInt64}
{% endmacro %}

{#
  Who came back: people by the week of their first session, and in how many weeks after it they had one. Weeks begin on
  Monday in the zone `tz`. Sessions before the range count for whose first week it is; only cohorts of the range are given.
#}
{% macro retention(condition='1') %}
SELECT
    toUnixTimestamp(toDateTime(cohort, {tz:String})) AS cohort_s,
    toInt64(intDiv(toInt64(week) - toInt64(cohort), 7)) AS weeks_after,
    count() AS people
FROM
(
    SELECT week, min(week) OVER (PARTITION BY workspace, network, actor, device_id) AS cohort
    FROM
    (
        SELECT DISTINCT workspace, network, actor, device_id, toMonday(started_at, {tz:String}) AS week
        FROM ({{ session_rows(condition) }})
    )
)
WHERE cohort >= toMonday(toDateTime({from_s:Int64}, 'UTC'), {tz:String})
GROUP BY cohort, weeks_after
ORDER BY cohort, weeks_after
{% endmacro %}

{# Events that are a step of a funnel: of published slices, and live ones of hours that are not published. #}
{% macro funnel_events(step, condition) %}
SELECT workspace, network, actor, device_id, event_time, toString(event_id) AS event_id, step
FROM
(
    SELECT {{ session_event_columns() }}, {{ step }} AS step
    FROM
    (
        SELECT workspace, network, type, actor, object, campaign, properties, event_time, event_id
        FROM connector_slices_builds
        WHERE {{ condition }} AND (toStartOfHour(event_time), network, build_id) IN
            (SELECT bucket, network, build_id FROM ({{ published_builds('connector_slices') }}))
        UNION ALL
        SELECT workspace, network, type, actor, object, campaign, properties, event_time, event_id
        FROM events
        WHERE {{ condition }} AND (toStartOfHour(event_time), network) NOT IN ({{ published_pairs('connector_slices') }})
    )
)
WHERE (actor != '' OR device_id != '') AND has(step, 1)
{% endmacro %}

{#
  What sessions look at in an event (SESSION_EVENT_SCHEMA of analytics/sessions.py), for sealed and live alike.

  A view is a page or content that was shown. A key event is a conversion, or an event whose properties say
  "key_event": true. A goal is worth properties.amount_minor in properties.currency, where that is an amount that ads
  would count too: a whole number from 0 to contracts.ads.MOST_MINOR, so that no sum of them can overflow.
  Where there is no actor, properties.device_id stands for one.
#}
{% macro session_event_columns() %}
    workspace,
    network,
    actor,
    if(actor = '', JSONExtractString(properties, 'device_id'), '') AS device_id,
    event_time,
    event_id,
    type IN ({{ metric_types('page_views') }}, {{ metric_types('views') }}) AS view,
    type IN ({{ metric_types('conversions') }}) OR JSONExtractBool(properties, 'key_event') AS key_event,
    if(object = '', JSONExtractString(properties, 'page'), object) AS item,
    campaign,
    JSONExtractString(properties, 'device') AS device,
    if(key_event AND {{ amount_minor('properties') }} BETWEEN 0 AND 1000000000000, {{ amount_minor('properties') }}, NULL) AS goal_minor,
    if(goal_minor IS NULL, '', upper(JSONExtractString(properties, 'currency'))) AS goal_currency
{% endmacro %}

{# The same of rows of a table or subquery; `more` names columns to carry along. #}
{% macro session_event_rows(source, condition='1', more='') %}
SELECT
{{ session_event_columns() }}{{ more }}
FROM {{ source }}
WHERE {{ condition }}
{% endmacro %}

{#
  Facts of the dataset `sessions` (contracts/facts.py): measures of sessions by the quarter of an hour they start in, and
  of the events that are in no session, by their own. Sealed builds and live answers both render it.

  sessions: rows in the shape of SESSION_SCHEMA; nobodys: rows of session_event_rows without actor and device
#}
{% macro session_facts(sessions, nobodys) %}
SELECT bucket, workspace, network, dimension, member, fact.1 AS measure, fact.2 AS value
FROM
(
    SELECT
        toStartOfInterval(toDateTime(started_at, 'UTC'), toIntervalMinute(15)) AS bucket,
        workspace,
        network,
        pair.1 AS dimension,
        pair.2 AS member,
        [
            ('sessions', toInt64(count())),
            ('engaged_sessions', toInt64(sum(engaged))),
            ('bounced_sessions', toInt64(count() - sum(engaged))),
            ('session_events', toInt64(sum(events))),
            ('session_views', toInt64(sum(views))),
            ('session_key_events', toInt64(sum(key_events))),
            ('session_duration_ms', sum(dateDiff('millisecond', started_at, ended_at))),
            ('session_goal_minor', sum(goal_minor)),
            ('goals_in_other_currencies', toInt64(sum(goals_in_other_currencies)))
        ] AS measures
    FROM {{ sessions }}
    ARRAY JOIN
    [
        ('all', ''),
        ('campaign', if(campaign = '', 'unknown', toString(campaign))),
        ('device', if(device = '', 'unknown', toString(device))),
        ('entry', if(entry = '', 'unknown', entry)),
        ('currency', if(goal_currency = '', 'unknown', toString(goal_currency)))
    ] AS pair
    GROUP BY bucket, workspace, network, dimension, member
)
ARRAY JOIN measures AS fact
WHERE value != 0
UNION ALL
SELECT
    toStartOfInterval(toDateTime(event_time, 'UTC'), toIntervalMinute(15)) AS bucket,
    workspace,
    network,
    pair.1 AS dimension,
    pair.2 AS member,
    'unidentified_events' AS measure,
    toInt64(count()) AS value
FROM {{ nobodys }}
ARRAY JOIN
[
    ('all', ''),
    ('campaign', if(campaign = '', 'unknown', toString(campaign))),
    ('device', if(device = '', 'unknown', toString(device))),
    ('entry', 'unknown'),
    ('currency', 'unknown')
] AS pair
GROUP BY bucket, workspace, network, dimension, member
{% endmacro %}

{# Rows of live_sessions as they stand, for sessions that start in a range. #}
{% macro live_session_rows(condition='1') %}
(SELECT * FROM live_sessions FINAL WHERE gone = 0 AND {{ condition }})
{% endmacro %}

{# The live half of the dataset `sessions`; `from_s` and `to_s` bound it. #}
{% macro live_sessions_facts() %}
{% set range = "{at} >= toDateTime({from_s:Int64}, 'UTC') AND {at} < toDateTime({to_s:Int64}, 'UTC')" %}
{% set nobodys = "(SELECT DISTINCT workspace, network, event_time, event_id, campaign, device FROM session_events"
    ~ " WHERE actor = '' AND device_id = '' AND " ~ range | replace('{at}', 'event_time')
    ~ " AND toStartOfDay(event_time, 'UTC') >= toStartOfDay(toDateTime({from_s:Int64}, 'UTC'), 'UTC'))" %}
{{ session_facts(live_session_rows(range | replace('{at}', 'started_at')), nobodys) }}
{% endmacro %}

{# Days and networks of a plan's range with events that were known as of its instant, and no sealed sessions then. #}
{% macro sessions_not_sealed(plan) %}
{% set known = "sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" %}
SELECT toUnixTimestamp(day) AS day_s, toString(network) AS of_network
FROM
(
    SELECT DISTINCT toStartOfDay(event_time, 'UTC') AS day, network
    FROM events
    WHERE event_time >= toDateTime({from_s:Int64}, 'UTC') AND event_time < toDateTime({to_s:Int64}, 'UTC')
        AND received_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')
        {%- for column in plan.column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}

)
WHERE (day, network) NOT IN ({{ published_pairs('sessions', known) }})
ORDER BY day_s, of_network
LIMIT 1
{% endmacro %}

{# Sessions that readers see: of the published build of the day they start on. #}
{% macro published_sessions(condition='1', seals='seals', builds='sessions_builds') %}
SELECT * FROM {{ builds }}
WHERE {{ condition }} AND (bucket, network, build_id) IN
    (SELECT bucket, network, build_id FROM ({{ published_builds('sessions', seals=seals) }}))
{% endmacro %}

{#
  What one day's sessions hand on to the next: per following day and network a sum of hashes of those that an event after
  midnight could join. Rows of sessions_builds for which `condition` holds.
#}
{% macro sessions_handed_on(condition) %}
SELECT
    bucket + toIntervalDay(1) AS day,
    network,
    sum(cityHash64(session_id, started_at, ended_at, last_event_id)) AS handed_on
FROM sessions_builds
WHERE {{ condition }} AND ended_at > toDateTime64(bucket + toIntervalDay(1), 3, 'UTC') - toIntervalMinute(30)
GROUP BY day, network
{% endmacro %}

{#
  One row, one number: 1 where `session_events` holds every live event once, and live sessions count every event that has
  an identity and lies behind the positions they were taken up to.
#}
{% macro live_sessions_follow() %}
SELECT
    (SELECT (count(), sum(cityHash64(workspace, event_id))) FROM events)
        = (SELECT (count(), sum(cityHash64(workspace, event_id))) FROM session_events)
    AND (SELECT sum(events) FROM live_sessions FINAL WHERE gone = 0) =
    (
        SELECT countIf(actor != '' OR device_id != '')
        FROM session_events
        INNER JOIN
        (
            SELECT log_topic, log_partition, argMax(log_offset, version) AS reached
            FROM live_sessions_progress
            GROUP BY log_topic, log_partition
        ) AS taken USING (log_topic, log_partition)
        WHERE log_offset <= reached
    ) AS follow
{% endmacro %}

{#
  Every published day of sessions: events of the day that have an identity, and how many of them are in its sessions and in
  those that the day before handed on; sessions of one identity that overlap.

  condition: SQL over `bucket` that names whole days

  equal: every event is in exactly one session
  late: the day's hours were published after its sessions; the next sealing takes that in
  different: neither; an event is lost or in two sessions
#}
{% macro session_account(condition='1', seals='seals', slices='connector_slices_builds', builds='sessions_builds') %}
SELECT
    days.bucket AS bucket,
    days.network AS network,
    held.n AS identified,
    own.n + carried.n AS in_sessions,
    own.overlapping AS overlapping,
    multiIf(
        identified = in_sessions AND overlapping = 0, 'equal',
        hours.newest > days.published_at, 'late',
        'different'
    ) AS verdict
FROM ({{ published_builds('sessions', condition, seals) }}) AS days
LEFT JOIN
(
    SELECT toStartOfDay(bucket, 'UTC') AS bucket, network, max(published_at) AS newest
    FROM ({{ published_builds('connector_slices', condition, seals) }})
    GROUP BY bucket, network
) AS hours ON hours.bucket = days.bucket AND hours.network = days.network
LEFT JOIN
(
    SELECT toStartOfDay(event_time, 'UTC') AS bucket, network,
        countIf(actor != '' OR JSONExtractString(properties, 'device_id') != '') AS n
    FROM {{ slices }}
    WHERE (toStartOfHour(event_time), network, build_id) IN
        (SELECT bucket, network, build_id FROM ({{ published_builds('connector_slices', condition, seals) }}))
    GROUP BY bucket, network
) AS held ON held.bucket = days.bucket AND held.network = days.network
LEFT JOIN
(
    SELECT bucket, network, sum(events - events_after_midnight) AS n, countIf(started_at < before) AS overlapping
    FROM
    (
        SELECT *, lagInFrame(ended_at) OVER (PARTITION BY bucket, workspace, network, actor, device_id ORDER BY started_at) AS before
        FROM ({{ published_sessions(condition, seals, builds) }})
    )
    GROUP BY bucket, network
) AS own ON own.bucket = days.bucket AND own.network = days.network
LEFT JOIN
(
    SELECT bucket, network, sum(after) AS n
    FROM
    (
        SELECT bucket + toIntervalDay(1) AS bucket, network, events_after_midnight AS after
        FROM ({{ published_sessions('events_after_midnight > 0', seals, builds) }})
    )
    WHERE {{ condition }}
    GROUP BY bucket, network
) AS carried ON carried.bucket = days.bucket AND carried.network = days.network
{% endmacro %}

{#
  Every published day of sessions against the live ones: how many there are, and how many differ in what they hold.

  equal, late (events of these days came after the sealing), filtered (slices left events out), different
#}
{% macro sessions_live_against_sealed(condition='1') %}
SELECT
    days.bucket AS bucket,
    days.network AS network,
    both.live_sessions AS live_sessions,
    both.sealed_sessions AS sealed_sessions,
    both.differing AS differing,
    multiIf(
        differing = 0, 'equal',
        came.newest > days.published_at, 'late',
        slices.considered > slices.admitted, 'filtered',
        'different'
    ) AS verdict
FROM ({{ published_builds('sessions', condition) }}) AS days
LEFT JOIN
(
    SELECT bucket, network, countIf(live > 0) AS live_sessions, countIf(sealed > 0) AS sealed_sessions,
        countIf(live != sealed OR live_end != sealed_end) AS differing
    FROM
    (
        SELECT bucket, network, session_id, sumIf(events, side) AS live, sumIf(events, NOT side) AS sealed,
            maxIf(ended_at, side) AS live_end, maxIf(ended_at, NOT side) AS sealed_end
        FROM
        (
            SELECT true AS side, toStartOfDay(started_at, 'UTC') AS bucket, network, session_id, events, ended_at
            FROM {{ live_session_rows() }}
            WHERE {{ condition }}
            UNION ALL
            SELECT false AS side, bucket, network, session_id, events, ended_at FROM ({{ published_sessions(condition) }})
        )
        GROUP BY bucket, network, session_id
    )
    GROUP BY bucket, network
) AS both ON both.bucket = days.bucket AND both.network = days.network
LEFT JOIN
(
    SELECT toStartOfDay(event_time, 'UTC') AS bucket, network, max(received_at) AS newest
    FROM (SELECT * , toStartOfDay(event_time, 'UTC') AS bucket FROM events)
    WHERE {{ condition }}
    GROUP BY bucket, network
) AS came ON came.bucket = days.bucket AND came.network = days.network
LEFT JOIN
(
    SELECT toStartOfDay(bucket, 'UTC') AS bucket, network, sum(events) AS considered, sum(rows) AS admitted
    FROM ({{ published_builds('connector_slices', condition) }})
    GROUP BY bucket, network
) AS slices ON slices.bucket = days.bucket AND slices.network = days.network
{% endmacro %}

{#
  Per log partition: events, newest event_time and newest received_at.

  as_of: SQL of an instant; only events received until then count. Without it the running table answers, with it the rows do.
#}
{% macro log_progress(as_of='') %}
SELECT
    log_topic,
    log_partition,
    {% if as_of %}count(){% else %}sum(events){% endif %} AS events_taken,
    {% if as_of %}min(event_time){% else %}min(oldest_event_time){% endif %} AS oldest_event,
    {% if as_of %}max(event_time){% else %}max(newest_event_time){% endif %} AS newest_event,
    {% if as_of %}max(received_at){% else %}max(newest_received_at){% endif %} AS newest_receipt
FROM {% if as_of %}events WHERE received_at <= {{ as_of }}{% else %}live_progress{% endif %}

GROUP BY log_topic, log_partition
{% endmacro %}

{#
  The watermark: the least, over log partitions, of the largest event_time taken. A partition that took nothing for the
  idle time does not hold it back; when all are idle, nothing does, and it stands at the newest event.

  To be selected FROM log_progress; `active` is SQL that is true for a partition that is not idle.
#}
{% macro watermark(active) -%}
if(countIf({{ active }}) = 0, max(newest_event), minIf(newest_event, {{ active }}))
{%- endmacro %}

{#
  Two rows, `seals` 0 and 1: how far the events reach, and how far the seals do. Instants as microseconds since 1970, 0
  where there is none. Parameters: `now` in microseconds, `idle_ms`, `lateness_s`. With `as_of`, `now` is that instant and
  only what was known then counts. One row of both (scalar subqueries, a join) takes twice to six times as long to plan.
#}
{% macro progress(as_of) %}
{% set now = "fromUnixTimestamp64Micro({now:Int64}, 'UTC')" %}
SELECT
    0 AS seals,
    toUInt64(sum(events_taken)) AS counted,
    toUnixTimestamp64Micro(toDateTime64({{ watermark("newest_receipt > " ~ now ~ " - toIntervalMillisecond({idle_ms:Int64})") }}, 6, 'UTC')) AS through,
    toUnixTimestamp64Micro(toDateTime64(max(newest_receipt), 6, 'UTC')) AS changed,
    toUnixTimestamp64Micro(toDateTime64(min(oldest_event), 6, 'UTC')) AS first,
    toUnixTimestamp64Micro(toDateTime64(max(newest_event), 6, 'UTC')) AS last
FROM ({{ log_progress(now if as_of else '') }})
UNION ALL
SELECT
    1,
    count(),
    -- an hour sealed while it was still filling says nothing about its end
    toInt64(maxIf(
        toUnixTimestamp(bucket) + 3600,
        dataset = 'engagement_hourly' AND sealed_at >= bucket + toIntervalSecond(3600 + {lateness_s:Int64})
    )) * 1000000,
    toUnixTimestamp64Micro(max(sealed_at)),
    0,
    0
FROM seals
{% if as_of %}WHERE sealed_at <= {{ now }}{% endif %}

{% endmacro %}

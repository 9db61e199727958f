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

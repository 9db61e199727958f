{#
  The rows that one number is made of, by place in the log: of hours with a published slice those of the slice, of other
  hours the live ones. Parameters are those of a metric query; with `as_of`, as it was known then.
#}
{% macro explained_rows(plan, metric, members) %}
{% set known = " AND sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" if plan.as_of else "" %}
{% set hours = "bucket >= toStartOfHour(toDateTime({from_s:Int64}, 'UTC')) AND bucket < toDateTime({to_s:Int64}, 'UTC')" ~ known %}
{% set condition %}
event_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    {%- if metric_types(metric) | trim %} AND type IN ({{ metric_types(metric) | trim }}){% endif %}
    {%- for column in plan.column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}
    {%- for m in members %} AND {% if m == 'topic' %}hasAny(topics, {topic:Array(String)}){% else %}{{ m }} IN {{ '{' }}{{ m }}:Array(String)}{% endif %}{% endfor %}
{% endset %}
SELECT toString(log_topic) AS topic, log_partition AS partition, toString(type) AS event_type,
    min(log_offset) AS first_offset, max(log_offset) AS last_offset, count() AS events
FROM
(
    SELECT log_topic, log_partition, log_offset, type FROM connector_slices_builds
    WHERE {{ condition }}
        AND (toStartOfHour(event_time), network, build_id) IN
            (SELECT bucket, network, build_id FROM ({{ published_builds('connector_slices', hours) }}))
    UNION ALL
    SELECT log_topic, log_partition, log_offset, type FROM events
    WHERE {{ condition }}
        {% if plan.as_of %}AND received_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC'){% endif %}

        AND (toStartOfHour(event_time), network) NOT IN ({{ published_pairs('connector_slices', hours) }})
)
GROUP BY topic, partition, event_type
ORDER BY topic, partition, event_type
{% endmacro %}

{# Every seal of a dataset in a span of its buckets, oldest first; the last of a (bucket, network) is what readers see. #}
{% macro explained_seals(as_of) %}
SELECT toUnixTimestamp(bucket) AS bucket_s, toString(network) AS of_network, toString(build_id) AS build, events,
    sealed_at AS at, toString(cause) AS why, run_id AS run
FROM seals
WHERE dataset = {dataset:String}
    AND bucket >= toDateTime({first_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')
    {% if as_of %}AND sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC'){% endif %}

ORDER BY bucket_s, of_network, at
{% endmacro %}

{# Published changes of one metric's parts within a bucket, oldest first. #}
{% macro explained_restatements(plan) %}
SELECT restated_at AS at, toString(changed.metric) AS part, toUnixTimestamp(changed.bucket) AS bucket_s,
    toString(workspace) AS of_workspace, toString(changed.network) AS of_network, toString(type) AS event_type,
    toString(dimension) AS by_dimension, member AS of_member, old_value AS old, new_value AS new, toString(changed.cause) AS why
FROM restatements AS changed FINAL
WHERE dataset = {dataset:String} AND changed.metric IN {parts:Array(String)}
    AND changed.bucket >= toDateTime({from_s:Int64}, 'UTC') AND changed.bucket < toDateTime({to_s:Int64}, 'UTC')
    AND dimension = {dimension:String} AND (empty({types:Array(String)}) OR type IN {types:Array(String)})
    {%- for column in plan.column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}
    {%- for m in plan.member_filters %} AND member IN {{ '{' }}{{ m }}:Array(String)}{% endfor %}
    {% if plan.as_of %}AND restated_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC'){% endif %}

    AND build_id IN (SELECT build_id FROM seals WHERE dataset = {dataset:String})
ORDER BY at, bucket_s, of_network, event_type, of_member
{% endmacro %}

{# Archive parts that hold rows of a span of event hours. #}
{% macro explained_parts(networks) %}
SELECT path, sum(rows) AS rows_of_span, any(sha256) AS digest
FROM archive_contents FINAL
WHERE retired = 0 AND event_hour >= toDateTime({first_s:Int64}, 'UTC') AND event_hour < toDateTime({to_s:Int64}, 'UTC')
    {% if networks %}AND network IN {network:Array(String)}{% endif %}

GROUP BY path
ORDER BY path
{% endmacro %}

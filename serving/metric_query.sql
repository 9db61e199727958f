{#
  One metric by bucket and group: sealed builds where they are published, live rows where not, never both for one
  (hour, network). Rendered by serving/compile.py; every value from a caller is a query parameter.
#}
{% from 'engagement.sql' import engagement_cross %}
{% from 'metrics.sql' import metric_denominator, metric_numerator, metric_types, metric_value %}
{% from 'sealed.sql' import published_builds, published_days %}
{% set from_s, to_s = "toDateTime({from_s:Int64}, 'UTC')", "toDateTime({to_s:Int64}, 'UTC')" %}
{% set from_hour = "toStartOfHour(" ~ from_s ~ ")" %}
{% set known = " AND sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" if plan.as_of else "" %}
{% set hours = "bucket >= " ~ from_hour ~ " AND bucket < " ~ to_s ~ known %}
{% set days = "bucket >= " ~ from_s ~ " AND bucket + INTERVAL 1 DAY <= " ~ to_s ~ known %}
{% set types, is_ratio = metric_types(metric) | trim, metric_denominator(metric) | trim %}
{% set by_rows = plan.resolution in ('minute', 'row') %}

{%- macro narrowed() %}
{%- if types %} AND type IN ({{ types }}){% endif %}
{%- for column in plan.column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}
{%- endmacro %}

{%- macro from_rollup(table, published) %}
    SELECT bucket, workspace, network, type, {% for m in plan.members %}member AS {{ m }}_member, {% endfor %}events, actors
    FROM {{ table }}
    WHERE dimension = '{{ plan.members[0] if plan.members else 'all' }}'
        AND bucket >= {{ from_s }} AND bucket < {{ to_s }}
        {% for m in plan.member_filters %}AND member IN {{ '{' }}{{ m }}:Array(String)} {% endfor %}{{ narrowed() }}
        AND {{ published }}
{%- endmacro %}

{%- macro from_rows(table, published) %}
    {% set rows %}
    (
        SELECT *
        FROM {{ table }}
        WHERE event_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
            AND event_time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
            {% for m in plan.member_filters if m != 'topic' %}AND {{ m }} IN {{ '{' }}{{ m }}:Array(String)} {% endfor %}
            {% if 'topic' in plan.member_filters %}AND hasAny(topics, {topic:Array(String)}) {% endif %}{{ narrowed() }}
            AND {{ published }}
    )
    {% endset %}
    {{ engagement_cross(rows, plan.row_bucket, plan.members) }}
{%- endmacro %}

WITH
{% if plan.daily %}
sealed_days AS ({{ published_days(days, hours) }}),
{% endif %}
sealed_hours AS
(
    SELECT bucket, network, build_id
    FROM ({{ published_builds('connector_slices' if by_rows else 'engagement_hourly', hours) }})
    {% if plan.daily %}WHERE (toStartOfDay(bucket, 'UTC'), network) NOT IN (SELECT bucket, network FROM sealed_days){% endif %}

),
rows AS
(
    {% if by_rows %}
    {{ from_rows('connector_slices_builds', '(toStartOfHour(event_time), network, build_id) IN (SELECT bucket, network, build_id FROM sealed_hours)') }}
    {% else %}
    {% if plan.daily %}
    {{ from_rollup('engagement_daily_builds', '(bucket, network, build_id) IN (SELECT bucket, network, build_id FROM sealed_days)') }}
    UNION ALL
    {% endif %}
    {{ from_rollup('engagement_hourly_builds', '(bucket, network, build_id) IN (SELECT bucket, network, build_id FROM sealed_hours)') }}
    {% endif %}
    UNION ALL
    {% set no_hour, no_day = 'NOT IN (SELECT bucket, network FROM sealed_hours)', 'NOT IN (SELECT bucket, network FROM sealed_days)' %}
    {% if plan.live_from_rows %}
    {{ from_rows('events', '(toStartOfHour(event_time), network) ' ~ no_hour
        ~ (' AND (toStartOfDay(event_time), network) ' ~ no_day if plan.daily else '')
        ~ (" AND received_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" if plan.as_of else '')) }}
    {% else %}
    {{ from_rollup('live_engagement_minute' if by_rows else 'live_engagement_hour', '(toStartOfHour(bucket), network) ' ~ no_hour
        ~ (" AND (toStartOfDay(bucket, 'UTC'), network) " ~ no_day if plan.daily else '')) }}
    {% endif %}

),
grouped AS
(
    SELECT
        toInt64(toUnixTimestamp({{ plan.bucket }})) AS bucket_start,
        {% for name, column in plan.groups %}toString({{ column }}) AS {{ name }}_group, {% endfor %}
        {% if plan.mean_of_ratios %}grouping(network) = 1 AS pooled,{% endif %}
        {{ metric_value(metric) }} AS metric_value
        {% if is_ratio %}, {{ metric_numerator(metric) }} AS numerator, {{ metric_denominator(metric) }} AS denominator{% endif %}

    FROM rows
    WHERE 1{% for m in plan.member_filters if m in plan.members %} AND {{ m }}_member IN {{ '{' }}{{ m }}:Array(String)}{% endfor %}

    {% set keys %}bucket_start{% for name, _ in plan.groups %}, {{ name }}_group{% endfor %}{% endset %}
    {% if plan.mean_of_ratios %}
    GROUP BY GROUPING SETS (({{ keys }}), ({{ keys }}, network))
    {% else %}
    GROUP BY {{ keys }}
    {% endif %}
)
SELECT
    bucket_start,
    {% for name, _ in plan.groups %}{{ name }}_group, {% endfor %}
    {% if plan.mean_of_ratios %}
    anyIf(metric_value, pooled) AS value,
    anyIf(numerator, pooled) AS numerator_of_all,
    anyIf(denominator, pooled) AS denominator_of_all,
    countIf(NOT pooled AND metric_value IS NOT NULL) AS networks,
    -- sorted, so that the mean is the same to the last bit whatever order threads deliver
    if(networks = 0, NULL, arrayAvg(arraySort(groupArrayIf(assumeNotNull(metric_value), NOT pooled AND metric_value IS NOT NULL)))) AS mean_of_networks
FROM grouped
GROUP BY {{ keys }}
    {% else %}
    metric_value AS value
    {% if is_ratio %}, numerator AS numerator_of_all, denominator AS denominator_of_all{% endif %}

FROM grouped
    {% endif %}
ORDER BY {{ plan.order }}bucket_start{% for name, _ in plan.groups %}, {{ name }}_group{% endfor %}
{% if plan.limited %}LIMIT {limit:UInt64}{% endif %}

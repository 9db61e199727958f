{#
  One metric by bucket and group: sealed builds where they are published, live rows where not, never both for one
  (hour, network). The query layer renders it with a checked plan (serving/plan.py); every value that a caller gave is a
  query parameter, so nothing of it is ever part of the text.
#}
{% macro metric_query(metric, plan) %}
{% set from_s, to_s = "toDateTime({from_s:Int64}, 'UTC')", "toDateTime({to_s:Int64}, 'UTC')" %}
{% set known = " AND sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" if plan.as_of else "" %}
{% set hours = "bucket >= toStartOfHour(" ~ from_s ~ ") AND bucket < " ~ to_s ~ known %}
{% set days = "bucket >= " ~ from_s ~ " AND bucket + INTERVAL 1 DAY <= " ~ to_s ~ known %}
{% set by_rows = plan.resolution in ('minute', 'row') %}
{% set scope = plan.scope %}
{% set published_hour = 'IN (SELECT bucket, network, build_id FROM sealed_hours)' %}
{% set hourly = 'connector_slices' if by_rows else 'engagement_hourly' %}
{% set not_in_hours = '(toStartOfHour({at}), network) NOT IN (' ~ published_pairs(hourly, hours) ~ ')' %}
{% set not_in_days = " AND (toStartOfDay({at}, 'UTC'), network) NOT IN (SELECT bucket, network FROM sealed_days)"
    if plan.daily else '' %}
WITH
{% if plan.daily %}
sealed_days AS ({{ published_days(days, hours) }}),
{% endif %}
{% if not scope or scope.builds is none %}
sealed_hours AS ({{ published_builds(hourly, hours) }}),
{% endif %}
rows AS
(
    {% if by_rows %}
    {{ metric_rows(metric, plan, 'connector_slices_builds', '(toStartOfHour(event_time), network, build_id) ' ~ published_hour) }}
    {% else %}
    {% if plan.daily %}
    {{ metric_rollup_rows(metric, plan, 'engagement_daily_builds',
        '(bucket, network, build_id) IN (SELECT bucket, network, build_id FROM sealed_days)') }}
    UNION ALL
    {% endif %}
    {{ metric_rollup_rows(metric, plan, 'engagement_hourly_builds',
        'build_id IN {builds:Array(UUID)}' if scope and scope.builds is not none
        else '(bucket, network, build_id) ' ~ published_hour ~ not_in_days | replace('{at}', 'bucket')) }}
    {% endif %}
    {% if not scope or scope.live %}
    UNION ALL
    {% if plan.live_from_rows %}
    {{ metric_rows(metric, plan, 'events', (not_in_hours ~ not_in_days) | replace('{at}', 'event_time')
        ~ (" AND received_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" if plan.as_of else '')) }}
    {% else %}
    {{ metric_rollup_rows(metric, plan, 'live_engagement_minute' if by_rows else 'live_engagement_hour',
        (not_in_hours ~ not_in_days) | replace('{at}', 'bucket')
        ~ (" AND bucket >= toDateTime({live_from:Int64}, 'UTC') AND bucket <= toDateTime({live_to:Int64}, 'UTC')" if scope else '')) }}
    {% endif %}
    {% endif %}
),
{{ metric_groups(metric, plan) }}
{% endmacro %}

{# The rest of every metric query: `rows` by bucket and group, the pooled value, and the mean of the networks' own ratios. #}
{% macro metric_groups(metric, plan) %}
{% set is_ratio = metric_denominator(metric) | trim %}
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
{% endmacro %}

{#
  What of the store matters to an hourly question: every seal of its hours, and the hours that have live rows (no build).
  Comparing the two here, with NOT IN, would take as long to plan as all the rest.
#}
{% macro query_scope(column_filters) %}
{% set span = "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')" %}
SELECT toUnixTimestamp(bucket) AS hour, toString(network) AS of_network, toString(build_id) AS build, sealed_at AS at
FROM seals
WHERE dataset = 'engagement_hourly' AND {{ span }}
UNION ALL
SELECT DISTINCT toUnixTimestamp(bucket), toString(network), '', toDateTime64(0, 6, 'UTC')
FROM live_engagement_hour
WHERE dimension = 'all' AND {{ span }}
    {%- for column in column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}

{% endmacro %}

{# The part of a WHERE that every source of a metric shares: its event types, and filters on plain columns. #}
{% macro metric_condition(metric, plan) %}
{%- if metric_types(metric) | trim %} AND type IN ({{ metric_types(metric) | trim }}){% endif %}
{%- for column in plan.column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}
{%- endmacro %}

{# Rows of a rollup table, with the member in a column of its dimension's name. #}
{% macro metric_rollup_rows(metric, plan, table, published) %}
    SELECT
        bucket, workspace, network, type, {% for m in plan.members %}member AS {{ m }}_member, {% endfor %}events, actors
    FROM {{ table }}
    WHERE dimension = '{{ plan.members[0] if plan.members else 'all' }}'
        AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')
        {% for m in plan.member_filters %}AND member IN {{ '{' }}{{ m }}:Array(String)} {% endfor %}{{ metric_condition(metric, plan) }}
        AND {{ published }}
{% endmacro %}

{# The same from events or slices, for what no rollup table keeps. #}
{% macro metric_rows(metric, plan, table, published) %}
    {% set rows %}
    (
        SELECT *
        FROM {{ table }}
        WHERE event_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
            AND event_time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
            {% for m in plan.member_filters if m != 'topic' %}AND {{ m }} IN {{ '{' }}{{ m }}:Array(String)} {% endfor %}
            {% if 'topic' in plan.member_filters %}AND hasAny(topics, {topic:Array(String)}){% endif %}{{ metric_condition(metric, plan) }}
            AND {{ published }}
    )
    {% endset %}
    {{ engagement_cross(rows, plan.row_bucket, plan.members) }}
{% endmacro %}

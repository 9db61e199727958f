{#
  One metric made of facts, by bucket and group: published builds where the day is published, live facts where not, never
  both for one (day, network). Rendered with a checked plan (serving/plan.py) whose range lies on quarters of an hour.
#}
{% macro facts_query(metric, plan) %}
{% set from_s, to_s = "toDateTime({from_s:Int64}, 'UTC')", "toDateTime({to_s:Int64}, 'UTC')" %}
{% set known = " AND sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')" if plan.as_of else "" %}
{% set days = "bucket >= toStartOfDay(" ~ from_s ~ ", 'UTC') AND bucket < " ~ to_s ~ known %}
WITH
sealed_days AS ({{ published_builds(plan.dataset, days) }}),
rows AS
(
    {{ fact_rows(metric, plan, 'facts_builds', "dataset = '" ~ plan.dataset ~ "'"
        ~ " AND (toStartOfDay(bucket, 'UTC'), network, build_id) IN (SELECT bucket, network, build_id FROM sealed_days)") }}
    {% set live = live_facts(plan) | trim %}
    {% if live %}
    UNION ALL
    {{ fact_rows(metric, plan, '(' ~ live ~ ')',
        "(toStartOfDay(bucket, 'UTC'), network) NOT IN (SELECT bucket, network FROM sealed_days)") }}
    {% endif %}
),
{{ metric_groups(metric, plan) }}
{% endmacro %}

{# Facts of the plan's range and dimension, with the member in a column of the dimension's name. #}
{% macro fact_rows(metric, plan, source, condition) %}
    SELECT
        bucket, workspace, network, {% for m in plan.members %}member AS {{ m }}_member, {% endfor %}measure, value
    FROM {{ source }}
    WHERE dimension = '{{ plan.members[0] if plan.members else 'all' }}'
        AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')
        AND measure IN ({{ metric_measures(metric) | trim }})
        {% for m in plan.member_filters %}AND member IN {{ '{' }}{{ m }}:Array(String)} {% endfor %}
        {%- for column in plan.column_filters %} AND {{ column }} IN {{ '{' }}{{ column }}:Array(String)}{% endfor %}
        AND {{ condition }}
{% endmacro %}

{#
  Facts of buckets whose day is not published, from live tables, in the shape of `facts_builds` without its build:
  bucket, workspace, network, dimension, member, measure, value. Nothing for a dataset that has no live half. What
  live sessions were at an earlier instant is not kept: they answer as of one only while nothing has changed since.
#}
{% macro live_facts(plan) %}
{% if plan.dataset == 'sessions' and (not plan.as_of or plan.unchanged) %}
{{ live_sessions_facts() }}
{% elif plan.dataset in ('ads', 'ad_returns') %}
{{ live_ad_facts(plan.dataset, plan.as_of) }}
{% elif plan.dataset == 'trends' %}
{{ live_trend_facts(plan.as_of) }}
{% endif %}
{% endmacro %}

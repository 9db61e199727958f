{#
  Which sealed builds readers see: the newest row of `seals` per (bucket, network).

  dataset: connector_slices, engagement_hourly or engagement_daily
  condition: SQL over a row of `seals` that narrows it, e.g. sealed_at <= … to see what was published then
  seals: the table; dbt passes its source, so that lineage shows it
#}
{% macro published_builds(dataset, condition='1', seals='seals') %}
SELECT
    bucket,
    network,
    argMax(build_id, sealed_at) AS build_id,
    argMax(rows, sealed_at) AS rows,
    argMax(events, sealed_at) AS events,
    max(sealed_at) AS published_at
FROM {{ seals }}
WHERE dataset = '{{ dataset }}' AND {{ condition }}
GROUP BY bucket, network
{% endmacro %}

{#
  Daily builds that may stand for their day: those published after every hourly build of that day and network.
  A re-sealed hour makes its day's older build step aside, so that no query mixes an old day with a new hour.
#}
{% macro published_days(day_condition='1', hour_condition='1', seals='seals') %}
SELECT
    day AS bucket,
    network,
    argMaxIf(build, at, daily) AS build_id,
    maxIf(at, daily) AS published_at
FROM
(
    SELECT
        dataset = 'engagement_daily' AS daily,
        toStartOfDay(bucket, 'UTC') AS day,
        network,
        build_id AS build,
        sealed_at AS at
    FROM {{ seals }}
    WHERE (dataset = 'engagement_daily' AND {{ day_condition }}) OR (dataset = 'engagement_hourly' AND {{ hour_condition }})
)
GROUP BY day, network
HAVING countIf(daily) > 0 AND published_at >= maxIf(at, NOT daily)
{% endmacro %}

{# What the rows of a slice add up to: its seal's checksum. An aggregate over rows of connector_slices_builds. #}
{% macro slice_checksum() %}
sum(cityHash64(workspace, event_id, type, actor, object, campaign, arrayMap(t -> toString(t), topics), event_time))
{% endmacro %}

{#
  Rows and a hash of what builds of a fact dataset hold in a table, per build, day and network: one changed, lost or doubled
  row makes it another. `day` is the SQL of the UTC day that seals keep for a row.
#}
{% macro build_contents(dataset, table, day, condition) %}
SELECT build_id, {{ day }} AS sealed_bucket, network, count() AS rows,
    sum(cityHash64(toString(tuple(* EXCEPT (build_id))))) AS hash
FROM {{ table }}
WHERE {{ condition }}{% if table == 'facts_builds' %} AND dataset = '{{ dataset }}'{% endif %}

GROUP BY build_id, sealed_bucket, network
{% endmacro %}

{# Only the (bucket, network) pairs that have a build: cheaper where it does not matter which. #}
{% macro published_pairs(dataset, condition='1', seals='seals') %}
SELECT bucket, network FROM {{ seals }} WHERE dataset = '{{ dataset }}' AND {{ condition }}
{% endmacro %}

{# What readers see of all fact datasets. #}
{% macro published_facts() %}
SELECT * FROM facts_builds
WHERE (dataset, toStartOfDay(bucket, 'UTC'), network, build_id) IN (
    SELECT dataset, bucket, network, argMax(build_id, sealed_at) FROM seals GROUP BY dataset, bucket, network
)
{% endmacro %}

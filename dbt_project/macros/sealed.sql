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
SELECT day.bucket AS bucket, day.network AS network, day.build_id AS build_id, day.published_at AS published_at
FROM ({{ published_builds('engagement_daily', day_condition, seals) }}) AS day
LEFT JOIN
(
    SELECT toStartOfDay(bucket, 'UTC') AS bucket, network, max(published_at) AS published_at
    FROM ({{ published_builds('engagement_hourly', hour_condition, seals) }})
    GROUP BY bucket, network
) AS hours ON hours.bucket = day.bucket AND hours.network = day.network
WHERE day.published_at >= hours.published_at
{% endmacro %}

{#
  What dbt's tests, Dagster's checks and the command line ask about the truth of the numbers, written once.
  Tables are parameters, so that dbt can pass its sources.
#}

{#
  Rollup rows in which live and sealed differ in events or in distinct actors, for sealed (hour, network) pairs.

  condition: SQL over `bucket` and `network` that narrows the pairs
#}
{% macro live_sealed_differences(condition='1', seals='seals', live='live_engagement_hour', sealed='engagement_hourly_builds') %}
SELECT
    bucket, network, workspace, type, dimension, member,
    maxIf(n, side = 'live') AS live_events,
    maxIf(n, side = 'sealed') AS sealed_events,
    maxIf(u, side = 'live') AS live_actors,
    maxIf(u, side = 'sealed') AS sealed_actors
FROM
(
    SELECT 'live' AS side, bucket, network, workspace, type, dimension, member, sum(events) AS n, uniqExactMerge(actors) AS u
    FROM {{ live }}
    WHERE {{ condition }}
        AND (bucket, network) IN (SELECT bucket, network FROM ({{ published_builds('engagement_hourly', condition, seals) }}))
    GROUP BY bucket, network, workspace, type, dimension, member
    UNION ALL
    SELECT 'sealed' AS side, bucket, network, workspace, type, dimension, member, sum(events) AS n, uniqExactMerge(actors) AS u
    FROM {{ sealed }}
    WHERE {{ condition }}
        AND (bucket, network, build_id) IN
            (SELECT bucket, network, build_id FROM ({{ published_builds('engagement_hourly', condition, seals) }}))
    GROUP BY bucket, network, workspace, type, dimension, member
)
GROUP BY bucket, network, workspace, type, dimension, member
HAVING live_events != sealed_events OR live_actors != sealed_actors
{% endmacro %}

{#
  Every sealed (hour, network): events live, sealed, considered and admitted when its slice was made, and the verdict.

  equal: live and sealed are the same in every row
  late: live has events that came after the slice was made; the next sealing takes them in
  filtered: live has events that the first filtering pass left out, and no other difference in number
  different: none of these explains it; a row was lost or doubled somewhere
#}
{% macro live_against_sealed(condition='1', seals='seals', live='live_engagement_hour', sealed='engagement_hourly_builds') %}
SELECT
    hours.bucket AS bucket,
    hours.network AS network,
    live_side.n AS live,
    sealed_side.n AS sealed,
    slices.events AS considered,
    slices.rows AS admitted,
    differences.n AS differing_rows,
    multiIf(
        differing_rows = 0, 'equal',
        sealed != admitted OR live < considered, 'different',
        live > considered, 'late',
        considered > admitted, 'filtered',
        'different'
    ) AS verdict
FROM ({{ published_builds('engagement_hourly', condition, seals) }}) AS hours
LEFT JOIN ({{ published_builds('connector_slices', condition, seals) }}) AS slices
    ON slices.bucket = hours.bucket AND slices.network = hours.network
LEFT JOIN
(
    SELECT bucket, network, sum(events) AS n FROM {{ live }}
    WHERE dimension = 'all' AND {{ condition }} GROUP BY bucket, network
) AS live_side ON live_side.bucket = hours.bucket AND live_side.network = hours.network
LEFT JOIN
(
    SELECT bucket, network, sum(events) AS n FROM {{ sealed }}
    WHERE dimension = 'all' AND {{ condition }} AND (bucket, network, build_id) IN
        (SELECT bucket, network, build_id FROM ({{ published_builds('engagement_hourly', condition, seals) }}))
    GROUP BY bucket, network
) AS sealed_side ON sealed_side.bucket = hours.bucket AND sealed_side.network = hours.network
LEFT JOIN
(
    SELECT bucket, network, count() AS n
    FROM ({{ live_sealed_differences(condition, seals, live, sealed) }})
    GROUP BY bucket, network
) AS differences ON differences.bucket = hours.bucket AND differences.network = hours.network
{% endmacro %}

{#
  The live group's account by log position: verdicts per topic, partition and chunk of offsets, with two sums that only
  an unbroken range of offsets, each once, can have.

  condition: SQL over `log_topic`, `log_partition` and `log_offset`
#}
{% macro position_account(chunk, condition='1', events='events', rejects='live_rejects') %}
SELECT
    log_topic,
    log_partition,
    intDiv(log_offset, {{ chunk }}) AS chunk,
    countIf(verdict = 'stored') AS stored,
    countIf(verdict = 'duplicate') AS duplicate,
    countIf(verdict = 'quarantined') AS quarantined,
    max(log_offset) + 1 AS chunk_end,
    sum(toUInt64(log_offset)) AS offset_sum,
    sum(toUInt64(log_offset) * toUInt64(log_offset)) AS offset_square_sum
FROM
(
    SELECT log_topic, log_partition, log_offset, 'stored' AS verdict FROM {{ events }} WHERE {{ condition }}
    UNION ALL
    SELECT log_topic, log_partition, log_offset, toString(verdict) AS verdict FROM {{ rejects }} FINAL WHERE {{ condition }}
)
GROUP BY log_topic, log_partition, chunk
{% endmacro %}

{# Offsets of `[start, end)` of one partition that have no verdict, or more than one, with the number they have. #}
{% macro unbalanced_offsets(condition, start, end, events='events', rejects='live_rejects') %}
SELECT log_offset, sum(n) AS verdicts
FROM
(
    SELECT log_offset, count() AS n FROM {{ events }} WHERE {{ condition }} GROUP BY log_offset
    UNION ALL
    SELECT log_offset, count() AS n FROM {{ rejects }} FINAL WHERE {{ condition }} GROUP BY log_offset
    UNION ALL
    SELECT toInt64(number) AS log_offset, 0 AS n FROM numbers(toUInt64({{ start }}), toUInt64({{ end }} - {{ start }}))
)
GROUP BY log_offset
HAVING verdicts != 1
{% endmacro %}

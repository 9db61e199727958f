{{ config(materialized='incremental', incremental_strategy='insert_overwrite', partition_by='toYYYYMM(day)',
          order_by='(metric, workspace, network, day)') }}
{# One row per metric, day, workspace and network. Ratios keep their parts, so that they can be pooled by whoever sums. #}
SELECT day, workspace, network, entry.1 AS metric, entry.2 AS value, entry.3 AS numerator, entry.4 AS denominator, published_at
FROM
(
    SELECT
        toDate(bucket) AS day,
        workspace,
        network,
        [
            {% for metric in (metric_ids() | trim).split(',') %}(
                '{{ metric }}',
                CAST({{ metric_value(metric) }} AS Nullable(Float64)),
                toUInt64({{ metric_numerator(metric) }}),
                CAST({{ metric_denominator(metric) | trim or 'NULL' }} AS Nullable(UInt64))
            ){{ '' if loop.last else ', ' }}{% endfor %}
        ] AS entries,
        max(published_at) AS published_at
    FROM {{ with_publication(ref('stg_engagement_daily')) }}
    WHERE dimension = 'all'
        {{ months_to_build() }}
    GROUP BY bucket, workspace, network
)
ARRAY JOIN entries AS entry

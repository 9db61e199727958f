{{ config(materialized='incremental', incremental_strategy='insert_overwrite', partition_by='toYYYYMM(day)',
          order_by='(workspace, network, day)') }}
{# Named in two steps: a metric may have the name of a rollup column (`events`), and SQL would read the alias. #}
SELECT
    day,
    workspace,
    network,
    {% for metric in (metric_ids() | trim).split(',') %}value_of_{{ metric }} AS {{ metric }},
    {% endfor %}published_at
FROM
(
    SELECT
        toDate(bucket) AS day,
        workspace,
        network,
        {% for metric in (metric_ids() | trim).split(',') %}{{ metric_value(metric) }} AS value_of_{{ metric }},
        {% endfor %}max(published_at) AS published_at
    FROM {{ with_publication(ref('stg_engagement_daily')) }}
    WHERE dimension = 'all'
        {{ months_to_build() }}
    GROUP BY bucket, workspace, network
)

{{ config(materialized='incremental', incremental_strategy='insert_overwrite', partition_by='toYYYYMM(day)',
          order_by='(workspace, network, day)') }}
SELECT
    bucket AS day,
    workspace,
    network,
    {% for metric in (metric_ids() | trim).split(',') %}{{ metric_value(metric) }} AS {{ metric }},
    {% endfor %}max(published_at) AS published_at
FROM {{ with_publication(ref('stg_engagement_daily')) }}
WHERE dimension = 'all'
    {{ months_to_build() }}
GROUP BY bucket, workspace, network

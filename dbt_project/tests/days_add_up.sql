{{ config(description='Additivity: a sealed day counts what its sealed hours count, row by row, in events and in merged actors.') }}
SELECT bucket, workspace, network, type, dimension, member, groupArray((grain, n, u)) AS found
FROM
(
    SELECT 'day' AS grain, bucket, workspace, network, type, dimension, member, sum(events) AS n, uniqExactMerge(actors) AS u
    FROM {{ ref('stg_engagement_daily') }}
    GROUP BY bucket, workspace, network, type, dimension, member
    UNION ALL
    SELECT 'hours' AS grain, bucket, workspace, network, type, dimension, member, sum(events) AS n, uniqExactMerge(actors) AS u
    FROM ({{ engagement_merge(ref('stg_engagement_hourly'), "toStartOfDay(bucket, 'UTC')") }})
    WHERE (bucket, network) IN (SELECT bucket, network FROM {{ ref('stg_engagement_daily') }})
    GROUP BY bucket, workspace, network, type, dimension, member
)
GROUP BY bucket, workspace, network, type, dimension, member
HAVING count() != 2 OR min(n) != max(n) OR min(u) != max(u)

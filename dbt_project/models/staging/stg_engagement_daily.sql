SELECT bucket, workspace, network, type, dimension, member, events, actors
FROM {{ source('tally', 'engagement_daily_builds') }}
WHERE (bucket, network, build_id) IN (SELECT bucket, network, build_id FROM {{ ref('stg_published_days') }})

SELECT bucket, workspace, network, type, dimension, member, events, actors
FROM {{ source('tally', 'engagement_hourly_builds') }}
WHERE (bucket, network, build_id) IN
    (SELECT bucket, network, build_id FROM ({{ published_builds('engagement_hourly', seals=source('tally', 'seals')) }}))

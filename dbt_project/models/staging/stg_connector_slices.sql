SELECT
    workspace, event_id, type, network, actor, object, campaign, topics, properties, event_time, received_at,
    log_topic, log_partition, log_offset
FROM {{ source('tally', 'connector_slices_builds') }}
WHERE (network, toStartOfHour(event_time), build_id) IN
    (SELECT network, bucket, build_id FROM ({{ published_builds('connector_slices', seals=source('tally', 'seals')) }}))

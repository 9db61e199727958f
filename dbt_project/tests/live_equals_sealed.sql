{{ config(description='Where an hour is sealed, its live rollup and its sealed one are the same, or a late or filtered event explains it.') }}
SELECT *
FROM
(
    {{ live_against_sealed(
        "bucket >= now() - toIntervalDay(" ~ var('checked_days') ~ ")",
        seals=source('tally', 'seals'), live=source('tally', 'live_engagement_hour'),
        sealed=source('tally', 'engagement_hourly_builds')) }}
)
WHERE verdict = 'different'

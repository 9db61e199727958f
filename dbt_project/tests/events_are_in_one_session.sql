{{ config(description='Every event of a sealed day that has an actor or a device is in exactly one session, and sessions of one person do not overlap.') }}
SELECT *
FROM
(
    {{ session_account(
        "bucket >= toStartOfDay(now(), 'UTC') - toIntervalDay(" ~ var('checked_days') ~ ")",
        seals=source('tally', 'seals'), slices=source('tally', 'connector_slices_builds'),
        builds=source('tally', 'sessions_builds')) }}
)
WHERE verdict = 'different'

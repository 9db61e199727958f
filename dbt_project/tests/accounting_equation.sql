{{ config(description='Every log offset below the unsettled ones has exactly one verdict: stored, duplicate or quarantined.') }}
{#
  What was received within the last minute may still be on its way, so a partition is judged up to the first such offset.
  The sums of 0 … n-1 and of their squares are n(n-1)/2 and (n-1)n(2n-1)/6; n offsets with a hole have others.
#}
WITH
(
    SELECT mapFromArrays(groupArray(place), groupArray(n))
    FROM
    (
        SELECT
            concat(log_topic, '/', toString(log_partition)) AS place,
            if(countIf(recent) = 0, max(log_offset) + 1, minIf(log_offset, recent)) AS n
        FROM
        (
            SELECT log_topic, log_partition, log_offset, received_at > now64(3, 'UTC') - toIntervalMinute(1) AS recent
            FROM {{ source('tally', 'events') }}
            UNION ALL
            SELECT log_topic, log_partition, log_offset, received_at > now64(3, 'UTC') - toIntervalMinute(1) AS recent
            FROM {{ source('tally', 'live_rejects') }}
        )
        GROUP BY place
    )
) AS settled
SELECT
    log_topic,
    log_partition,
    toUInt64(settled[concat(log_topic, '/', toString(log_partition))]) AS offsets,
    sum(stored) + sum(duplicate) + sum(quarantined) AS verdicts,
    sum(offset_sum) AS offsets_found,
    sum(offset_square_sum) AS squares_found
FROM
(
    {{ position_account(1000000, "log_offset < settled[concat(log_topic, '/', toString(log_partition))]",
        source('tally', 'events'), source('tally', 'live_rejects')) }}
)
GROUP BY log_topic, log_partition
HAVING verdicts != offsets
    OR offsets_found != intDiv(offsets * (offsets - 1), 2)
    OR squares_found != toUInt64(intDiv(toUInt256(offsets - 1) * offsets * (2 * offsets - 1), 6) % toUInt256(18446744073709551616))

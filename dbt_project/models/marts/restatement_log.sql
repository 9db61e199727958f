{{ config(materialized='view') }}
SELECT
    restated_at,
    dataset,
    metric,
    bucket,
    workspace,
    network,
    type,
    dimension,
    member,
    old_value,
    new_value,
    ifNull(new_value, 0) - ifNull(old_value, 0) AS difference,
    cause,
    previous_build_id,
    build_id,
    run_id
FROM {{ source('tally', 'restatements') }} FINAL

{{ config(description='Each (workspace, event_id) is stored once.') }}
SELECT workspace, event_key, count() AS copies
FROM {{ source('tally', 'event_positions') }}
GROUP BY workspace, event_key
HAVING copies > 1
SETTINGS optimize_aggregation_in_order = 1

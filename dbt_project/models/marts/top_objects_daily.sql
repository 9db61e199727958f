{{ config(materialized='incremental', incremental_strategy='insert_overwrite', partition_by='toYYYYMM(day)',
          order_by='(workspace, network, day, place)') }}
{{ top_members_daily('object', 'engagements') }}

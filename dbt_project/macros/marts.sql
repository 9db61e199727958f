{#
  For marts that are replaced month by month: days of the months in which a day was published since the last run.
  All days of such a month are made again, because its partition is swapped in as a whole.
#}
{% macro months_to_build() %}
    {% if is_incremental() %}
    AND toYYYYMM(bucket) IN
    (
        SELECT DISTINCT toYYYYMM(bucket)
        FROM {{ ref('stg_published_days') }}
        WHERE published_at > (SELECT max(published_at) FROM {{ this }})
    )
    {% endif %}
{% endmacro %}

{# The newest publication that the rows of a group rest on: where the next incremental run starts. #}
{% macro with_publication(model) %}
(
    SELECT rollup.*, days.published_at AS published_at
    FROM {{ model }} AS rollup
    INNER JOIN {{ ref('stg_published_days') }} AS days ON days.bucket = rollup.bucket AND days.network = rollup.network
)
{% endmacro %}

{# The first 100 members of a dimension per day, workspace and network by a metric; ties go to more events, then by name. #}
{% macro top_members_daily(dimension, metric) %}
SELECT
    toDate(bucket) AS day,
    workspace,
    network,
    row_number() OVER (PARTITION BY bucket, workspace, network ORDER BY {{ metric }} DESC, events_found DESC, member) AS place,
    member AS {{ dimension }},
    {{ metric }},
    events_found AS events,
    active_actors,
    published_at
FROM
(
    SELECT
        bucket,
        workspace,
        network,
        member,
        {{ metric_value(metric) }} AS {{ metric }},
        {{ metric_value('events') }} AS events_found,
        {{ metric_value('active_actors') }} AS active_actors,
        max(published_at) AS published_at
    FROM {{ with_publication(ref('stg_engagement_daily')) }}
    WHERE dimension = '{{ dimension }}'
        {{ months_to_build() }}
    GROUP BY bucket, workspace, network, member
)
QUALIFY place <= 100
{% endmacro %}

{#
  Follower readings: every event that says how many followers its actor had, in the shape of analytics.followers. Files and
  other sources that were mapped are `imported`, our SDKs' own are `observed`, unless the event says what it is.
#}
{% macro follower_readings(source='events') %}
SELECT workspace, toString(network) AS network, actor AS account, event_time AS at,
    told.1 AS followers,
    multiIf(told.2 IN ('observed', 'imported', 'interpolated', 'estimated'), told.2, startsWith(sdk, 'mapping/'), 'imported', 'observed') AS provenance,
    event_id
FROM
(
    SELECT workspace, network, actor, event_time, sdk, event_id,
        JSONExtract(properties, 'Tuple(followers Nullable(Int64), followers_provenance String)') AS told
    FROM {{ source }}
    WHERE position(properties, '"followers"') > 0
)
WHERE told.1 >= 0
{% endmacro %}

{# Readings of [from_ms, to_ms) of the accounts asked (none: all), in order of account, time and event. #}
{% macro readings_of_accounts() %}
SELECT network, account, at, assumeNotNull(followers) AS followers, provenance
FROM ({{ follower_readings() }})
WHERE at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND ({workspace:String} = '' OR workspace = {workspace:String}) AND ({network:String} = '' OR network = {network:String})
    AND (empty({accounts:Array(String)}) OR account IN {accounts:Array(String)})
ORDER BY network, account, at, event_id
{% endmacro %}

{#
  Posts of [from_ms, to_ms) with what they got by `to_ms`. A post that names no object is its event. Which types are posts,
  reactions and so on comes with the question, from the catalogue of metrics.
#}
{% macro social_posts() %}
{% set mine = "({workspace:String} = '' OR workspace = {workspace:String}) AND ({network:String} = '' OR network = {network:String})" %}
{% set to_end = "event_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')" %}
{% set from_start = "event_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')" %}
SELECT
    posts.network AS network, account, post, posts.campaign AS campaign, posted_at,
    toInt64(got.reactions) AS reactions, toInt64(got.comments) AS comments, toInt64(got.shares) AS shares,
    toInt64(got.clicks) AS clicks, toInt64(got.views) AS views, toInt64(got.reach) AS reach, toInt64(got.impressions) AS impressions
FROM
(
    SELECT workspace, toString(network) AS network, actor AS account, if(object = '', toString(event_id), object) AS post,
        any(toString(campaign)) AS campaign, min(event_time) AS posted_at
    FROM events
    WHERE has({posts:Array(String)}, toString(type)) AND {{ from_start }} AND {{ to_end }} AND {{ mine }}
        AND (empty({accounts:Array(String)}) OR actor IN {accounts:Array(String)})
    GROUP BY workspace, network, account, post
) AS posts
LEFT JOIN
(
    SELECT workspace, toString(network) AS network, object AS post,
        {% for kind in ['reactions', 'comments', 'shares', 'clicks', 'views', 'impressions'] %}
        countIf(has({{ '{' }}{{ kind }}:Array(String)}, toString(type))) AS {{ kind }},
        {% endfor %}
        uniqExactIf(actor, has({views:Array(String)}, toString(type))) AS reach
    FROM events
    WHERE object != '' AND {{ from_start }} AND {{ to_end }} AND {{ mine }}
    GROUP BY workspace, network, post
) AS got ON got.workspace = posts.workspace AND got.network = posts.network AND got.post = posts.post
ORDER BY network, account, posted_at, post
{% endmacro %}

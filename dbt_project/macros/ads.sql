{#
  Ad events with what their properties say as columns (contracts/ads.py). Only types `ad.*`: others are not parsed.

  source: a relation or subquery with the envelope's columns; condition: SQL over its rows
#}
{% macro ad_events(source, condition='1') %}
SELECT
    toString(workspace) AS workspace,
    toString(network) AS network,
    toString(event_id) AS event_id,
    toString(type) AS type,
    actor,
    object AS ad,
    toString(campaign) AS campaign,
    event_time,
    told.1 AS advertiser,
    told.2 AS placement,
    told.3 AS channel,
    told.4 AS device,
    told.5 AS age,
    told.6 AS gender,
    told.7 AS country,
    told.8 AS click_id,
    told.9 AS conversion_id,
    told.10 AS ip,
    told.11 AS user_agent,
    told.12 AS currency,
    lower(told.13) IN ('true', '1') AS bot,
    amount_kind NOT IN ('', 'Null') AS has_amount,
    if(amount_kind IN ('Int64', 'UInt64', 'String'), told.14, NULL) AS amount_minor
FROM
(
    SELECT
        workspace, network, event_id, type, actor, object, campaign, event_time,
        JSONExtract(properties, 'Tuple(advertiser String, placement String, channel String, device String, age String,
            gender String, country String, click_id String, conversion_id String, ip String, user_agent String,
            currency String, bot String, amount_minor Nullable(Int64))') AS told,
        toString(JSONType(properties, 'amount_minor')) AS amount_kind
    FROM {{ source }}
    WHERE startsWith(type, 'ad.') AND {{ condition }}
)
{% endmacro %}

{#
  What it takes to tell about the ad events of [{own_from_ms}, {own_to_ms}): these, and whatever else the persons of its
  touches and conversions (types `telling`) did with ads in the source. Part {part} of {parts}, by person: what is told
  about one person needs nothing of another, so parts add up.
#}
{% macro ad_scope(source) %}
{% set own = "event_time >= fromUnixTimestamp64Milli({own_from_ms:Int64}, 'UTC')"
    ~ " AND event_time < fromUnixTimestamp64Milli({own_to_ms:Int64}, 'UTC')" %}
{{ ad_events(source, "cityHash64(workspace, network, actor) % {parts:UInt64} = {part:UInt64} AND (" ~ own
    ~ " OR (workspace, network, actor) IN (SELECT workspace, network, actor FROM " ~ source ~ " WHERE "
    ~ own ~ " AND type IN {telling:Array(String)}))") }}
{% endmacro %}

{# Credits that readers see: those of the builds that the newest seals of `ads` name. #}
{% macro published_ad_credits(condition='1') %}
SELECT * FROM ad_credits_builds
WHERE (toStartOfDay(converted_at, 'UTC'), network, build_id) IN (
    SELECT bucket, network, build_id FROM ({{ published_builds('ads', condition) }})
)
{% endmacro %}

{#
  properties.amount_minor as a whole number of minor units; NULL where there is none. A whole number or its text counts,
  and nothing that would have to be rounded: JSONExtract alone reads 2.5 as 2, '12.5' as 12 and true as 1.
#}
{% macro amount_minor(properties) -%}
multiIf(
    JSONType({{ properties }}, 'amount_minor') IN ('Int64', 'UInt64'), JSONExtract({{ properties }}, 'amount_minor', 'Nullable(Int64)'),
    match(JSONExtractString({{ properties }}, 'amount_minor'), '^-?[0-9]{1,18}$'), toInt64OrNull(JSONExtractString({{ properties }}, 'amount_minor')),
    NULL
)
{%- endmacro %}

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
    upper(told.12) AS currency,
    lower(told.13) IN ('true', '1') AS bot,
    amount_kind NOT IN ('', 'Null') AS has_amount,
    amount_minor
FROM
(
    SELECT
        workspace, network, event_id, type, actor, object, campaign, event_time,
        JSONExtract(properties, 'Tuple(advertiser String, placement String, channel String, device String, age String,
            gender String, country String, click_id String, conversion_id String, ip String, user_agent String,
            currency String, bot String)') AS told,
        toString(JSONType(properties, 'amount_minor')) AS amount_kind,
        {{ amount_minor('properties') }} AS amount_minor
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

{# Published facts of dataset `ads` in [from_s, to_s) of the networks asked. #}
{% macro published_ads() %}
SELECT toString(toDate(bucket)) AS day, toString(network) AS network, workspace, toString(dimension) AS dimension, member, toString(measure) AS measure, value
FROM facts_builds
WHERE dataset = 'ads' AND network IN {networks:Array(String)}
    AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')
    AND (toStartOfDay(bucket, 'UTC'), network, build_id) IN (
        SELECT bucket, network, build_id FROM (
            {{ published_builds('ads', "bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')") }}
        )
    )
{% endmacro %}

{#
  By day, network and model: credits that are not a million per conversion, or revenue that is not what conversions brought,
  in the facts or in the table of credits.
#}
{% macro ad_credits_unreconciled() %}
WITH
facts AS
(
    SELECT day, network, measure, sum(value) AS value FROM ({{ published_ads() }}) WHERE dimension = 'all' GROUP BY ALL
),
wholes AS
(
    SELECT day, network, sumIf(value, measure = 'ad_conversions_valid') AS conversions, sumIf(value, measure = 'ad_revenue_minor') AS revenue
    FROM facts GROUP BY day, network
),
credited AS
(
    SELECT day, network, model,
        sumIf(value, startsWith(measure, 'credit_')) AS credit, sumIf(value, startsWith(measure, 'revenue_')) AS revenue
    FROM
    (
        SELECT day, network, value, measure, replaceRegexpOne(measure, '^(credit|revenue)_(.*?)(_minor)?$', '\\2') AS model
        FROM facts WHERE match(measure, '^(credit|revenue)_')
        UNION ALL
        SELECT toString(toDate(converted_at)) AS day, network, pair.3 * 1 AS value, pair.2 AS measure, concat(pair.1, ' in ad_credits') AS model
        FROM
        (
            SELECT * FROM ({{ published_ad_credits("bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')") }})
            WHERE network IN {networks:Array(String)}
        )
        ARRAY JOIN [('last', 'credit_last', credit_last), ('last', 'revenue_last', revenue_last),
            ('decay', 'credit_decay', credit_decay), ('decay', 'revenue_decay', revenue_decay)] AS pair
    )
    GROUP BY day, network, model
)
SELECT day, network, model, credit, conversions * 1000000 AS expected_credit, revenue, wholes.revenue AS expected_revenue
FROM credited LEFT JOIN wholes USING (day, network)
WHERE credit != expected_credit OR revenue != expected_revenue
ORDER BY day, network, model
{% endmacro %}

{# Measures whose members do not sum to the total, by day, network, workspace and dimension. #}
{% macro ad_segments_uneven() %}
WITH sums AS (SELECT day, network, workspace, dimension, measure, sum(value) AS value FROM ({{ published_ads() }}) GROUP BY ALL)
SELECT day, network, workspace, measure, groupArray((dimension, value)) AS values, countIf(dimension = 'all') AS totals
FROM sums GROUP BY day, network, workspace, measure
HAVING uniqExact(value) > 1 OR count() != (SELECT uniqExact(dimension) FROM sums)
ORDER BY day, network, workspace, measure
{% endmacro %}

{# Campaigns with more valid clicks than impressions; where there are none, there is no rate. #}
{% macro ad_rates_impossible() %}
SELECT day, network, member AS campaign, sumIf(value, measure = 'ad_clicks_valid') AS clicks, sumIf(value, measure = 'ad_impressions') AS impressions
FROM ({{ published_ads() }})
WHERE dimension = 'campaign'
GROUP BY day, network, campaign
HAVING impressions > 0 AND clicks > impressions
ORDER BY clicks - impressions DESC, day, network, campaign
LIMIT 100
{% endmacro %}

{#
  Live facts of hours, from the newest generation of each; with `as_of`, from the newest there was then. A generation is the
  millisecond at which it was made.
#}
{% macro live_ad_facts(dataset, as_of=false) %}
SELECT bucket, workspace, network, dimension, member, measure, value
FROM live_ad_facts
WHERE dataset = '{{ dataset }}' AND (source_hour, generation) IN ({{ live_ad_generations(as_of) }})
{% endmacro %}

{% macro live_ad_generations(as_of=false) %}
SELECT source_hour, max(generation) FROM live_ad_hours{% if as_of %} WHERE generation * 1000 <= {as_of:Int64}{% endif %} GROUP BY source_hour
{% endmacro %}

{#
  Hours with ad events, all networks together: their events, whether a day of theirs is not sealed, and what was counted when
  they were made live. From eight days and more before `first_s`, or before the first hour whose day is not sealed where
  `first_s` is 0.
#}
{% macro live_ad_hours_known() %}
WITH hours AS
(
    SELECT bucket AS hour, sum(events) AS counted, max((toStartOfDay(bucket, 'UTC'), network) NOT IN ({{ published_pairs('ads') }})) AS is_open
    FROM live_engagement_hour
    WHERE dimension = 'all' AND startsWith(type, 'ad.')
    GROUP BY hour
)
SELECT toUnixTimestamp(hour) AS hour_s, counted, is_open, made.events AS made_of, made.side AS side
FROM hours
LEFT JOIN (SELECT source_hour, argMax(events, generation) AS events, argMax(side, generation) AS side FROM live_ad_hours GROUP BY source_hour) AS made
    ON made.source_hour = hours.hour
WHERE hour >= if({first_s:Int64} > 0, toDateTime({first_s:Int64}, 'UTC'), (SELECT min(hour) FROM hours WHERE is_open))
    - toIntervalHour({lead_hours:UInt32})
ORDER BY hour
{% endmacro %}

{# Rows of dataset `ads` in which live and published facts differ, of hours of [from_s, to_s) that are given as seconds. #}
{% macro ads_live_sealed_differences() %}
SELECT toString(toDate(bucket)) AS day, bucket, network, workspace, dimension, member, measure,
    sumIf(value, side = 'live') AS live, sumIf(value, side = 'sealed') AS sealed
FROM
(
    SELECT 'live' AS side, bucket, network, workspace, dimension, member, measure, value
    FROM ({{ live_ad_facts('ads') }})
    UNION ALL
    SELECT 'sealed' AS side, bucket, network, workspace, dimension, member, measure, value FROM facts WHERE dataset = 'ads'
)
WHERE toUnixTimestamp(toStartOfHour(bucket)) IN {hours_s:Array(UInt32)} AND network IN {networks:Array(String)}
    AND (toStartOfDay(bucket, 'UTC'), network) IN ({{ published_pairs('ads') }})
GROUP BY bucket, network, workspace, dimension, member, measure
HAVING live != sealed
ORDER BY bucket, network, dimension, member, measure
LIMIT 1000
{% endmacro %}

{# Credits as readers see them: published ones, and live ones of days that are not sealed. #}
{% macro all_ad_credits() %}
{% set columns = "workspace, network, actor, advertiser, conversion_id, converted_at, revenue_minor, touchpoints, touch_id, touch_at, kind, direct, campaign, ad, placement, device, age, gender, country, credit_first, credit_last, credit_last_non_direct, credit_linear, credit_position, credit_decay, revenue_first, revenue_last, revenue_last_non_direct, revenue_linear, revenue_position, revenue_decay" %}
SELECT {{ columns }} FROM ad_credits
UNION ALL
SELECT {{ columns }} FROM live_ad_credits
WHERE (source_hour, generation) IN ({{ live_ad_generations() }})
    AND (toStartOfDay(converted_at, 'UTC'), network) NOT IN ({{ published_pairs('ads') }})
{% endmacro %}

{#
  Credits of all models by a segment of the touch, and one row with is_total = 1. Conversions are distinct: one that several
  members share counts in each, and once in the total.
#}
{% macro attribution_by_segment(by, basis) %}
{% set at = 'converted_at' if basis == 'conversion' else 'assumeNotNull(touch_at)' %}
SELECT
    member,
    grouping(member) AS is_total,
    uniqExact(workspace, network, conversion_id) AS conversions,
    {% for model in ['first', 'last', 'last_non_direct', 'linear', 'position', 'decay'] %}
    sum(credit_{{ model }}) AS credit_{{ model }}, sum(revenue_{{ model }}) AS revenue_{{ model }}{{ '' if loop.last else ',' }}
    {% endfor %}
FROM
(
    SELECT *, if(kind = 'unattributed', 'unattributed', if(toString({{ by }}) = '', 'unknown', toString({{ by }}))) AS member
    FROM ({{ all_ad_credits() }})
    WHERE {{ at }} >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND {{ at }} < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        {% if basis != 'conversion' %}AND touch_at IS NOT NULL{% endif %}

        AND ({workspace:String} = '' OR workspace = {workspace:String}) AND ({network:String} = '' OR network = {network:String})
)
GROUP BY GROUPING SETS ((member), ())
{% endmacro %}

{# Facts of `ads` by member of a dimension, published and live, one column per measure asked; and the people behind them. #}
{% macro ad_segments(by, measures) %}
{% set period = "bucket >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND bucket < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')" %}
{% set mine = "({workspace:String} = '' OR workspace = {workspace:String}) AND ({network:String} = '' OR network = {network:String})" %}
SELECT member, people{% for measure in measures %}, {{ measure }}{% endfor %}

FROM
(
    SELECT member{% for measure in measures %}, sumIf(value, measure = '{{ measure }}') AS {{ measure }}{% endfor %}

    FROM
    (
        SELECT bucket, workspace, network, dimension, member, measure, value FROM facts WHERE dataset = 'ads'
        UNION ALL
        SELECT bucket, workspace, network, dimension, member, measure, value FROM ({{ live_ad_facts('ads') }})
        WHERE (toStartOfDay(bucket, 'UTC'), network) NOT IN ({{ published_pairs('ads') }})
    )
    WHERE dimension = '{{ by or 'all' }}' AND {{ period }} AND {{ mine }}
    GROUP BY member
) AS counted
LEFT JOIN
(
    SELECT {% if by %}if({{ by }} = '', 'unknown', {{ by }}){% else %}''{% endif %} AS member, uniqExact(workspace, network, actor) AS people
    FROM ({{ ad_events('events', mine ~ " AND " ~ period | replace('bucket', 'event_time')) }})
    GROUP BY member
) AS behind USING (member)
WHERE member != 'unattributed'
{% endmacro %}

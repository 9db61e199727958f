{#
  Topics that events mention, one row per event, kind and topic: what the live panes and the sealed recomputation count.

  source: a relation or subquery with the envelope's columns; types: contracts.trend_boards.MENTION_TYPES. Kinds:
    hashtag  topics of what is published (posts, edits, comments, shares, mentions)
    emoji    emoji in the property `text` of what is published; skin tones and variation selectors are left out
    link     property `url` or `link` of what is published or of a followed link: host without www, and path
    object   the object of an event that gives it attention
  Near duplicates are one topic: letter case, width and compatibility forms are folded where events come in; here the
  underscore and variation selectors go as well. Nothing else: plurals and accents differ by language.
  `label` is a spelling that was used. A tag over 100 characters or without a letter or number, a link or object over
  200, is no topic.
#}
{% macro topic_mentions(source, types) %}
{% set published = type_is_of(types.published) %}
{% set attention = type_is_of(types.attention) %}
{% set follows = type_is_of(types.follows) %}
{% set picture = "[\\\\x{1F300}-\\\\x{1FAFF}\\\\x{2600}-\\\\x{27BF}\\\\x{2B50}\\\\x{2B55}\\\\x{231A}\\\\x{231B}\\\\x{23E9}-\\\\x{23FA}]" %}
{% set dressed = picture ~ "[\\\\x{FE0F}\\\\x{1F3FB}-\\\\x{1F3FF}]*" %}
SELECT
    workspace,
    network,
    event_time,
    event_id,
    cityHash64(actor) AS actor,
    mention.1 AS kind,
    mention.2 AS topic,
    mention.3 AS label
FROM
(
    SELECT
        workspace,
        network,
        event_time,
        event_id,
        actor,
        arrayConcat(
            arrayMap(
                t -> ('hashtag', if(replaceRegexpAll(t, '[_\\x{FE0E}\\x{FE0F}]', '') = '', t, replaceRegexpAll(t, '[_\\x{FE0E}\\x{FE0F}]', '')), t),
                if({{ published }}, arrayFilter(t -> lengthUTF8(t) <= 100 AND match(t, '[\\pL\\pN]'), arrayMap(t -> toString(t), topics)), [])
            ),
            arrayMap(
                t -> ('emoji', replaceRegexpAll(t, '[\\x{FE0F}\\x{1F3FB}-\\x{1F3FF}]', ''), t),
                if(
                    {{ published }} AND position(properties, '"text"') > 0,
                    arrayFilter(
                        t -> lengthUTF8(t) <= 20,
                        extractAll(
                            JSONExtractString(properties, 'text'),
                            '[\\x{1F1E6}-\\x{1F1FF}]{2}|{{ dressed }}(?:\\x{200D}{{ dressed }})*'
                        )
                    ),
                    []
                )
            ),
            arrayFilter(
                m -> NOT startsWith(m.2, '/') AND m.2 != '' AND lengthUTF8(m.2) <= 200,
                arrayMap(
                    u -> ('link', concat(replaceRegexpOne(lower(domain(u)), '^www\\.', ''), replaceRegexpOne(path(u), '/+$', '')), u),
                    if(
                        ({{ published }} OR {{ follows }})
                            AND (position(properties, '"url"') > 0 OR position(properties, '"link"') > 0),
                        [if(JSONHas(properties, 'url'), JSONExtractString(properties, 'url'), JSONExtractString(properties, 'link'))],
                        []
                    )
                )
            ),
            if({{ attention }} AND object != '' AND lengthUTF8(object) <= 200, [('object', toString(object), toString(object))], [])
        ) AS found,
        arrayFilter(
            (m, nth) -> nth = 1,
            found,
            arrayEnumerateUniq(arrayMap(m -> m.1, found), arrayMap(m -> m.2, found))
        ) AS mentions
    FROM {{ source }}
)
ARRAY JOIN mentions AS mention
{% endmacro %}

{#
  Panes of ten seconds: who mentioned a topic, and in how many events. Everything about a window follows from these rows.
  Only what happened less than two days before it came in is counted here: nothing older can be on a board.
#}
{% macro topic_panes(source, types) %}
SELECT
    toDateTime(intDiv(toUnixTimestamp(event_time), 10) * 10, 'UTC') AS pane,
    workspace,
    network,
    kind,
    topic,
    min(label) AS label,
    actor,
    count() AS events
FROM ({{ topic_mentions("(SELECT * FROM " ~ source ~ " WHERE event_time >= received_at - toIntervalDay(2))", types) }})
GROUP BY pane, workspace, network, kind, topic, actor
{% endmacro %}

{#
  Counts of each window that ends at {hop:DateTime('UTC')}, per workspace, network, kind and topic of {kinds:Array(String)},
  of topics with {least:UInt64} actors over all networks, and of those in {kept:Array(String)} whatever they have.

  windows: name → panes; chosen: only topics of {topics:Array(String)}
#}
{% macro trend_windows(windows, chosen=false) %}
{% set longest = windows.values() | max %}
SELECT *
FROM
(
    SELECT
        workspace,
        network,
        kind,
        topic,
        min(spelling) AS label,
        {% for name in windows %}
        sum(events_{{ name }}) AS total_{{ name }},
        countIf(events_{{ name }} > 0) AS actors_{{ name }},
        sum(events_{{ name }} * log(greatest(events_{{ name }}, 1))) AS entropy_{{ name }},
        max(events_{{ name }}) AS top_{{ name }},
        {% endfor %}
        sum(count()) OVER (PARTITION BY workspace, kind, topic) AS everywhere
    FROM
    (
        SELECT
            workspace,
            network,
            kind,
            topic,
            actor,
            {% for name, length in windows.items() %}
            sumIf(events, pane >= {hop:DateTime('UTC')} - {{ length * 10 }}) AS events_{{ name }},
            {% endfor %}
            min(label) AS spelling
        FROM live_topic_panes
        WHERE kind IN {kinds:Array(String)}
            AND pane >= {hop:DateTime('UTC')} - {{ longest * 10 }} AND pane < {hop:DateTime('UTC')}
            {% if chosen %}AND topic IN {topics:Array(String)}{% endif %}

        GROUP BY workspace, network, kind, topic, actor
    )
    GROUP BY workspace, network, kind, topic
)
WHERE everywhere >= {least:UInt64} OR topic IN {kept:Array(String)}
{% endmacro %}

{# The total s of each window's baseline, the `past` panes before it: distinct actors of each pane, added up. #}
{% macro trend_baselines(windows, past) %}
{% set shortest, longest = windows.values() | min, windows.values() | max %}
SELECT
    workspace,
    network,
    kind,
    topic,
    {% for name, length in windows.items() %}
    sumIf(
        actors, pane >= {hop:DateTime('UTC')} - {{ (length + past) * 10 }} AND pane < {hop:DateTime('UTC')} - {{ length * 10 }}
    ) AS baseline_{{ name }}{{ "," if not loop.last }}
    {% endfor %}
FROM
(
    SELECT pane, workspace, network, kind, topic, uniqExact(actor) AS actors
    FROM live_topic_panes
    WHERE kind IN {kinds:Array(String)} AND topic IN {topics:Array(String)}
        AND pane >= {hop:DateTime('UTC')} - {{ (longest + past) * 10 }} AND pane < {hop:DateTime('UTC')} - {{ shortest * 10 }}
    GROUP BY pane, workspace, network, kind, topic
)
GROUP BY workspace, network, kind, topic
{% endmacro %}

{#
  The newest version of every board as of {version:Int64}, one row per entry; rank 0 says that the board was published.
  condition: SQL over workspace, network, window and kind
#}
{% macro trend_boards(condition='1') %}
SELECT * FROM trend_history FINAL
WHERE version <= {version:Int64} AND {{ condition }}
    AND (workspace, network, window, kind, version) IN (
        SELECT workspace, network, window, kind, max(version) FROM trend_history
        WHERE version <= {version:Int64} AND {{ condition }}
        GROUP BY workspace, network, window, kind
    )
ORDER BY workspace, network, window, kind, rank
{% endmacro %}

{# Distinct actors of each of the last {minutes:UInt32} minutes before {hop:DateTime('UTC')}; `ago` counts from 0 backwards. #}
{% macro topic_minutes() %}
SELECT
    topic,
    intDiv(toUnixTimestamp({hop:DateTime('UTC')}) - 1 - toUnixTimestamp(pane), 60) AS ago,
    uniqExact(network, actor) AS actors
FROM live_topic_panes
WHERE workspace = {workspace:String} AND kind = {kind:String} AND topic IN {topics:Array(String)}
    AND ({network:String} = 'all' OR network = {network:String})
    AND pane >= {hop:DateTime('UTC')} - 60 * {minutes:UInt32} AND pane < {hop:DateTime('UTC')}
GROUP BY topic, ago
{% endmacro %}

{# What a Space-Saving summary of each pane in [start, end) is made of. #}
{% macro topic_pane_totals() %}
SELECT toUnixTimestamp(pane) AS pane, workspace, network, kind, topic, sum(events) AS total
FROM live_topic_panes
WHERE kind IN {kinds:Array(String)} AND pane >= {start:DateTime('UTC')} AND pane < {end:DateTime('UTC')}
GROUP BY pane, workspace, network, kind, topic
{% endmacro %}

{# Since when each network of a workspace is observed. #}
{% macro topics_since() %}
SELECT workspace, network, toUnixTimestamp(min(since)) AS since FROM live_topic_since GROUP BY workspace, network
{% endmacro %}

{# The panes in which each actor mentioned a topic of {kinds:Array(String)}, for boards computed again. `pane` is a number. #}
{% macro topic_mention_panes(source, types) %}
SELECT DISTINCT workspace, network, kind, topic, actor, intDiv(toUnixTimestamp(event_time), 10) AS pane
FROM ({{ topic_mentions(source, types) }})
WHERE kind IN {kinds:Array(String)}
{% endmacro %}

{#
  The first pane in which each workspace mentioned anything: since then it is observed. 0 where something was published of the
  network before the source's first hour, because then it was observed all along.
#}
{% macro topics_first_seen(source, types) %}
SELECT
    workspace,
    if(
        (SELECT count() FROM seals WHERE dataset = 'connector_slices' AND network = {network:String}
            AND events > 0 AND bucket < toStartOfHour(toDateTime({from_s:Int64}, 'UTC'))) > 0,
        0,
        min(intDiv(toUnixTimestamp(event_time), 10))
    ) AS pane
FROM ({{ topic_mentions(source, types) }})
GROUP BY workspace
{% endmacro %}

{#
  The live half of the dataset `trends`: what the history of boards says, of kinds that are computed again when a day is sealed.
  A topic counts for a hop when any version of it had the topic.
#}
{% macro live_trend_facts(as_of=none) %}
SELECT bucket, workspace, network, pair.1 AS dimension, pair.2 AS member, measured.1 AS measure, sum(measured.2) AS value
FROM
(
    SELECT
        workspace, network, window, kind, topic, hop,
        toDateTime(intDiv(toUnixTimestamp(hop) - 1, 900) * 900, 'UTC') AS bucket,
        max(toUnixTimestamp(entered_at) = toUnixTimestamp(hop)) AS entered
    FROM trend_history
    WHERE rank > 0 AND network != 'all' AND kind IN ('hashtag', 'emoji', 'link')
        AND hop > toDateTime({from_s:Int64}, 'UTC') AND hop <= toDateTime({to_s:Int64}, 'UTC')
        {% if as_of %}AND version <= intDiv({as_of:Int64}, 1000){% endif %}

    GROUP BY workspace, network, window, kind, topic, hop
)
ARRAY JOIN
    [('all', ''), ('window', toString(window)), ('kind', toString(kind)), ('topic', concat(kind, '/', topic))] AS pair
ARRAY JOIN arrayFilter(m -> m.2 > 0, [('trend_seconds', toInt64(10)), ('trend_entries', toInt64(entered))]) AS measured
GROUP BY bucket, workspace, network, dimension, member, measure
{% endmacro %}

{#
  Quarters of an hour in which a published day and the history of boards disagree about a topic: one had it on a board for a minute
  or more, the other not at all. Only of quarters in which boards of that network were published every minute or so.
#}
{% macro trend_history_differences() %}
WITH
live AS ({{ live_trend_facts() }}),
kept AS
(
    SELECT toDateTime(intDiv(toUnixTimestamp(hop) - 1, 900) * 900, 'UTC') AS bucket, workspace, network
    FROM trend_history
    WHERE hop > toDateTime({from_s:Int64}, 'UTC') AND hop <= toDateTime({to_s:Int64}, 'UTC')
    GROUP BY bucket, workspace, network
    HAVING uniqExact(toStartOfMinute(hop - 1)) >= 14
)
SELECT toString(bucket) AS quarter, workspace, network, member, sum(shown) AS shown_s, sum(sealed) AS sealed_s
FROM
(
    SELECT bucket, workspace, network, member, value AS shown, 0 AS sealed FROM live
    WHERE dimension = 'topic' AND measure = 'trend_seconds'
    UNION ALL
    SELECT bucket, workspace, network, member, 0, value FROM facts
    WHERE dataset = 'trends' AND dimension = 'topic' AND measure = 'trend_seconds'
        AND bucket >= toDateTime({from_s:Int64}, 'UTC') AND bucket < toDateTime({to_s:Int64}, 'UTC')
)
WHERE network IN {networks:Array(String)} AND (bucket, workspace, network) IN (SELECT bucket, workspace, network FROM kept)
GROUP BY bucket, workspace, network, member
HAVING least(shown_s, sealed_s) = 0 AND greatest(shown_s, sealed_s) >= 60
ORDER BY greatest(shown_s, sealed_s) DESC
{% endmacro %}

{# SQL that is true for events of these types. #}
{% macro type_is_of(names) -%}
type IN ({% for name in names %}'{{ name }}'{{ ", " if not loop.last }}{% endfor %})
{%- endmacro %}

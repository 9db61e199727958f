{#
  Topics that events mention, one row per event, kind and topic: what the live panes and the sealed recomputation count.

  source: a relation or subquery with the envelope's columns. Kinds, and from which events:
    hashtag  topics of what is published (posts, edits, comments, shares, mentions)
    emoji    emoji in the property `text` of what is published; skin tones and variation selectors are left out
    link     property `url` or `link` of what is published or of link.clicked: host without www, and path
    object   the object of an event that gives it attention
  Near duplicates are one topic: letter case, width and compatibility forms are folded where events come in; here the
  underscore and variation selectors go as well. Nothing else: plurals and accents differ by language.
  `label` is a spelling that was used. A tag over 100 characters or without a letter or number, a link or object over
  200, is no topic.
#}
{% macro topic_mentions(source) %}
{% set published = "type IN ('post.created', 'post.edited', 'comment.created', 'share.created', 'mention.created')" %}
{% set attention = "type IN ('post.edited', 'comment.created', 'share.created', 'reaction.added', 'content.viewed', 'content.clicked', 'content.saved', 'link.clicked')" %}
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
                        ({{ published }} OR type = 'link.clicked')
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
{% macro topic_panes(source) %}
SELECT
    toDateTime(intDiv(toUnixTimestamp(event_time), 10) * 10, 'UTC') AS pane,
    workspace,
    network,
    kind,
    topic,
    min(label) AS label,
    actor,
    count() AS events
FROM ({{ topic_mentions("(SELECT * FROM " ~ source ~ " WHERE event_time >= received_at - toIntervalDay(2))") }})
GROUP BY pane, workspace, network, kind, topic, actor
{% endmacro %}

{#
  Counts of each window that ends at {hop:DateTime('UTC')}, per workspace, network, kind and topic, of topics with
  {least:UInt64} actors in some network or over all of them, and of those in {kept:Array(String)} whatever they have.

  windows: name → panes
#}
{% macro trend_windows(windows, panes='live_topic_panes') %}
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
        FROM {{ panes }}
        WHERE pane >= {hop:DateTime('UTC')} - {{ longest * 10 }} AND pane < {hop:DateTime('UTC')}
            AND (kind NOT IN {sketched:Array(String)} OR topic IN {heavy:Array(String)})
        GROUP BY workspace, network, kind, topic, actor
    )
    GROUP BY workspace, network, kind, topic
)
WHERE everywhere >= {least:UInt64} OR topic IN {kept:Array(String)}
{% endmacro %}

{# The total s of each window's baseline: distinct actors of every past pane, added up, of {topics:Array(String)}. #}
{% macro trend_baselines(windows, past, panes='live_topic_panes') %}
{% set longest = windows.values() | max %}
SELECT
    workspace,
    network,
    kind,
    topic,
    {% for name, length in windows.items() %}
    uniqExactIf((pane, actor), pane >= {hop:DateTime('UTC')} - {{ (length + past) * 10 }} AND pane < {hop:DateTime('UTC')} - {{ length * 10 }}) AS baseline_{{ name }}{{ "," if not loop.last }}
    {% endfor %}
FROM {{ panes }}
WHERE pane >= {hop:DateTime('UTC')} - {{ (longest + past) * 10 }} AND pane < {hop:DateTime('UTC')}
    AND topic IN {topics:Array(String)}
GROUP BY workspace, network, kind, topic
{% endmacro %}

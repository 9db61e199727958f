{#
  The one definition of an engagement rollup: the live views, the sealed builds and the check that both agree all render it.

  source: a relation or subquery with the envelope's columns, or a finer rollup when `merge` is true
  bucket: SQL that turns the source's time into the bucket's start, e.g. toStartOfHour(event_time)
#}
{% macro engagement_rollup(source, bucket) %}
SELECT
    {{ bucket }} AS bucket,
    workspace,
    network,
    type,
    pair.1 AS dimension,
    pair.2 AS member,
    count() AS events,
    uniqExactState(actor) AS actors
FROM {{ source }}
ARRAY JOIN arrayConcat(
    [('all', '')],
    if(object = '', [], [('object', object)]),
    if(campaign = '', [], [('campaign', toString(campaign))]),
    arrayMap(topic -> ('topic', toString(topic)), topics)
) AS pair
GROUP BY bucket, workspace, network, type, dimension, member
{% endmacro %}

{# A coarser rollup from a finer one: sums of counts, merged sets of actors. Never a sum of uniques. #}
{% macro engagement_merge(source, bucket) %}
SELECT
    {{ bucket }} AS bucket,
    workspace,
    network,
    type,
    dimension,
    member,
    sum(events) AS events,
    uniqExactMergeState(actors) AS actors
FROM {{ source }}
GROUP BY bucket, workspace, network, type, dimension, member
{% endmacro %}

{#
  A rollup by several members at once (object × topic, say), or at a resolution no table keeps, from the rows themselves.

  members: names out of object, campaign, topic; each becomes a column, and rows without one of them are left out,
           as they are from the dimension of that name in engagement_rollup
#}
{% macro engagement_cross(source, bucket, members) %}
SELECT
    {{ bucket }} AS bucket,
    workspace,
    network,
    type,
    {% for member in members %}toString({{ member }}) AS {{ member }}_member,
    {% endfor %}count() AS events,
    uniqExactState(actor) AS actors
FROM {{ source }}
{% if 'topic' in members %}ARRAY JOIN topics AS topic
{% endif %}WHERE 1{% for member in members %} AND {{ member }} != ''{% endfor %}
GROUP BY bucket, workspace, network, type{% for member in members %}, {{ member }}_member{% endfor %}
{% endmacro %}

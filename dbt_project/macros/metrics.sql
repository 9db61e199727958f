{# Written by `python -m contracts.metric_files` from contracts/metrics/*.yaml: change those. #}
{# The metrics that the engagement rollups answer. #}
{% macro metric_ids() %}active_actors,ad_clicks,amplification_rate,applause_rate,click_through_rate,clicks,comments,conversation_rate,conversion_rate_ads,conversions,engagements,engagements_with_clicks,events,impressions,posts,reactions,shares,views{% endmacro %}

{# A metric's value over rows of rollups (type, events, actors) or facts (measure, value), grouped. #}
{% macro metric_value(metric) -%}
{%- if metric_denominator(metric) | trim -%}
if({{ metric_denominator(metric) }} = 0, NULL, {{ metric_factor(metric) }}{{ metric_numerator(metric) }} / {{ metric_denominator(metric) }})
{%- else -%}{{ metric_numerator(metric) }}{%- endif -%}
{%- endmacro %}

{# A ratio's numerator, or the whole of a count. #}
{% macro metric_numerator(metric) -%}
{{ {
    "active_actors": "uniqExactMerge(actors)",
    "ad_clicks": "sumIf(events, type IN ('ad.clicked'))",
    "amplification_rate": "sumIf(events, type IN ('share.created'))",
    "applause_rate": "sumIf(events, type IN ('reaction.added'))",
    "click_through_rate": "sumIf(events, type IN ('ad.clicked'))",
    "clicks": "sumIf(events, type IN ('content.clicked', 'link.clicked'))",
    "comments": "sumIf(events, type IN ('comment.created'))",
    "conversation_rate": "sumIf(events, type IN ('comment.created'))",
    "conversion_rate_ads": "sumIf(events, type IN ('ad.converted'))",
    "conversions": "sumIf(events, type IN ('ad.converted'))",
    "engaged_sessions": "sumIf(value, measure IN ('engaged_sessions'))",
    "engagements": "sumIf(events, type IN ('comment.created', 'share.created', 'reaction.added'))",
    "engagements_with_clicks": "sumIf(events, type IN ('comment.created', 'share.created', 'reaction.added', 'content.clicked', 'link.clicked'))",
    "events": "sum(events)",
    "impressions": "sumIf(events, type IN ('ad.impression'))",
    "posts": "sumIf(events, type IN ('post.created'))",
    "reactions": "sumIf(events, type IN ('reaction.added'))",
    "session_engagement_rate": "sumIf(value, measure IN ('engaged_sessions'))",
    "sessions": "sumIf(value, measure IN ('sessions'))",
    "shares": "sumIf(events, type IN ('share.created'))",
    "views": "sumIf(events, type IN ('content.viewed'))",
}[metric] }}
{%- endmacro %}

{# A ratio's denominator; empty for a count. #}
{% macro metric_denominator(metric) -%}
{{ {
    "active_actors": "",
    "ad_clicks": "",
    "amplification_rate": "sumIf(events, type IN ('post.created'))",
    "applause_rate": "sumIf(events, type IN ('post.created'))",
    "click_through_rate": "sumIf(events, type IN ('ad.impression'))",
    "clicks": "",
    "comments": "",
    "conversation_rate": "sumIf(events, type IN ('post.created'))",
    "conversion_rate_ads": "sumIf(events, type IN ('ad.clicked'))",
    "conversions": "",
    "engaged_sessions": "",
    "engagements": "",
    "engagements_with_clicks": "",
    "events": "",
    "impressions": "",
    "posts": "",
    "reactions": "",
    "session_engagement_rate": "sumIf(value, measure IN ('sessions'))",
    "sessions": "",
    "shares": "",
    "views": "",
}[metric] }}
{%- endmacro %}

{# The event types a metric needs, for `type IN (…)`; empty where it needs every type. #}
{% macro metric_types(metric) -%}
{{ {
    "active_actors": "",
    "ad_clicks": "'ad.clicked'",
    "amplification_rate": "'share.created', 'post.created'",
    "applause_rate": "'reaction.added', 'post.created'",
    "click_through_rate": "'ad.clicked', 'ad.impression'",
    "clicks": "'content.clicked', 'link.clicked'",
    "comments": "'comment.created'",
    "conversation_rate": "'comment.created', 'post.created'",
    "conversion_rate_ads": "'ad.converted', 'ad.clicked'",
    "conversions": "'ad.converted'",
    "engaged_sessions": "",
    "engagements": "'comment.created', 'share.created', 'reaction.added'",
    "engagements_with_clicks": "'comment.created', 'share.created', 'reaction.added', 'content.clicked', 'link.clicked'",
    "events": "",
    "impressions": "'ad.impression'",
    "posts": "'post.created'",
    "reactions": "'reaction.added'",
    "session_engagement_rate": "",
    "sessions": "",
    "shares": "'share.created'",
    "views": "'content.viewed'",
}[metric] }}
{%- endmacro %}

{# What a ratio is multiplied by, with its sign; empty for 1. #}
{% macro metric_factor(metric) -%}
{{ {
    "active_actors": "",
    "ad_clicks": "",
    "amplification_rate": "",
    "applause_rate": "",
    "click_through_rate": "",
    "clicks": "",
    "comments": "",
    "conversation_rate": "",
    "conversion_rate_ads": "",
    "conversions": "",
    "engaged_sessions": "",
    "engagements": "",
    "engagements_with_clicks": "",
    "events": "",
    "impressions": "",
    "posts": "",
    "reactions": "",
    "session_engagement_rate": "",
    "sessions": "",
    "shares": "",
    "views": "",
}[metric] }}
{%- endmacro %}

{# The measures of facts that a metric needs. #}
{% macro metric_measures(metric) -%}
{{ {
    "active_actors": "",
    "ad_clicks": "",
    "amplification_rate": "",
    "applause_rate": "",
    "click_through_rate": "",
    "clicks": "",
    "comments": "",
    "conversation_rate": "",
    "conversion_rate_ads": "",
    "conversions": "",
    "engaged_sessions": "'engaged_sessions'",
    "engagements": "",
    "engagements_with_clicks": "",
    "events": "",
    "impressions": "",
    "posts": "",
    "reactions": "",
    "session_engagement_rate": "'engaged_sessions', 'sessions'",
    "sessions": "'sessions'",
    "shares": "",
    "views": "",
}[metric] }}
{%- endmacro %}

{# One row: how far the data reaches. Instants as microseconds since 1970, 0 where there is none. #}
{% from 'progress.sql' import log_progress, watermark %}
{% set now = "fromUnixTimestamp64Micro({now:Int64}, 'UTC')" %}
WITH
published AS
(
    SELECT count() AS seals, toUnixTimestamp64Micro(max(sealed_at)) AS sealed
    FROM seals
    {% if as_of %}WHERE sealed_at <= {{ now }}{% endif %}

)
SELECT
    sum(events_taken),
    any((SELECT seals FROM published)),
    toUnixTimestamp64Micro(toDateTime64({{ watermark("newest_receipt > " ~ now ~ " - toIntervalMillisecond({idle_ms:Int64})") }}, 6, 'UTC')),
    toUnixTimestamp64Micro(toDateTime64(min(oldest_event), 6, 'UTC')),
    toUnixTimestamp64Micro(toDateTime64(max(newest_event), 6, 'UTC')),
    toUnixTimestamp64Micro(toDateTime64(max(newest_receipt), 6, 'UTC')),
    any((SELECT sealed FROM published))
FROM ({{ log_progress(now if as_of else '') }})

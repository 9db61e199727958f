-- Base tables: what the live path writes and what the sealed path publishes.
-- Belongs here: tables whose rows are events, verdicts or bookkeeping. Metric formulas, live views and marts are in dbt_project.
-- Every statement is idempotent. Jinja names come from resources/clickhouse/migrate.py (engine family, database).

-- Live events: every event stored once, at the position in the log it was read from.
CREATE TABLE IF NOT EXISTS events
(
    workspace LowCardinality(String),
    event_id UUID,
    type LowCardinality(String),
    network LowCardinality(String),
    actor String,
    object String,
    campaign LowCardinality(String),
    topics Array(LowCardinality(String)),
    properties String CODEC(ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    received_at DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    event_time DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    time_flag LowCardinality(String),
    sdk LowCardinality(String),
    schema_version UInt16,
    receipt_id LowCardinality(String),
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64 CODEC(Delta, LZ4)
)
ENGINE = {{ merge_tree('MergeTree') }}
PARTITION BY toYYYYMM(event_time)
ORDER BY (workspace, network, event_time, event_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Identity index: answers "is this (workspace, event_id) here, and from which position?" in key order.
-- Time-ordered ids (UUIDv7) of a batch touch only the newest granules.
CREATE TABLE IF NOT EXISTS event_positions
(
    workspace LowCardinality(String),
    event_key UInt128,
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64
)
ENGINE = {{ merge_tree('MergeTree') }}
ORDER BY (workspace, event_key)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS event_positions_mv TO event_positions AS
SELECT workspace, reinterpretAsUInt128(reverse(UUIDStringToNum(toString(event_id)))) AS event_key, log_topic, log_partition, log_offset
FROM events;

-- The live path's other verdicts, by position, so that every offset of the log is accounted for in ClickHouse too.
CREATE TABLE IF NOT EXISTS live_rejects
(
    verdict Enum8('duplicate' = 1, 'quarantined' = 2),
    reason LowCardinality(String),
    workspace LowCardinality(String),
    network LowCardinality(String),
    event_id String,
    receipt_id LowCardinality(String),
    received_at DateTime64(3, 'UTC'),
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64
)
ENGINE = {{ merge_tree('ReplacingMergeTree') }}
ORDER BY (log_topic, log_partition, log_offset);

-- Which archive parts hold which event hours: one row per (part, event hour, network). Rebuilt from manifests at any time.
CREATE TABLE IF NOT EXISTS archive_contents
(
    path String,
    ingest_hour DateTime('UTC'),
    event_hour DateTime('UTC'),
    network LowCardinality(String),
    rows UInt64,
    sha256 String,
    retired UInt8 DEFAULT 0,
    written_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'written_at') }}
ORDER BY (event_hour, network, path);

-- Sealed rows live under a build id that no reader sees until its row in `seals` publishes it (docs/decisions/0005).
CREATE TABLE IF NOT EXISTS connector_slices_builds
(
    build_id UUID,
    workspace LowCardinality(String),
    event_id UUID,
    type LowCardinality(String),
    network LowCardinality(String),
    actor String,
    object String,
    campaign LowCardinality(String),
    topics Array(LowCardinality(String)),
    properties String CODEC(ZSTD(1)),
    event_time DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    received_at DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64
)
ENGINE = {{ merge_tree('MergeTree') }}
PARTITION BY toYYYYMM(event_time)
ORDER BY (network, toStartOfHour(event_time), build_id, workspace, event_time, event_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Publication log. The newest row of (dataset, bucket, network) names the build that readers see; older rows answer `as_of`.
-- dataset: connector_slices | engagement_hourly | engagement_daily | a fact dataset. bucket: start of the hour or day, UTC.
CREATE TABLE IF NOT EXISTS seals
(
    dataset LowCardinality(String),
    bucket DateTime('UTC'),
    network LowCardinality(String),
    build_id UUID,
    previous_build_id UUID DEFAULT toUUID('00000000-0000-0000-0000-000000000000'),
    rows UInt64,
    events UInt64,
    checksum UInt64,
    cause LowCardinality(String),
    run_id String,
    sealed_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = {{ merge_tree('MergeTree') }}
ORDER BY (dataset, network, bucket, sealed_at)
SETTINGS non_replicated_deduplication_window = 10000;

-- Every change of a closed bucket: metric, bucket, old, new, cause, when.
CREATE TABLE IF NOT EXISTS restatements
(
    dataset LowCardinality(String),
    metric LowCardinality(String),
    bucket DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    type LowCardinality(String),
    dimension LowCardinality(String),
    member String,
    old_value Nullable(Float64),
    new_value Nullable(Float64),
    cause LowCardinality(String),
    previous_build_id UUID,
    build_id UUID,
    run_id String,
    restated_at DateTime64(6, 'UTC')
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'restated_at') }}
ORDER BY (dataset, bucket, network, build_id, metric, workspace, type, dimension, member);

-- Rollup tables: one shape for live and sealed (macro engagement_rollup in dbt_project/macros writes all of them).
-- `dimension` says what `member` is: all ('' ), object, campaign or topic. `actors` is an exact, mergeable distinct count.
-- Sets of actors are large: with granules of at most 256 KiB a question reads those of its own hours only.
CREATE TABLE IF NOT EXISTS live_engagement_minute
(
    bucket DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    type LowCardinality(String),
    dimension LowCardinality(String),
    member String,
    events SimpleAggregateFunction(sum, UInt64),
    actors AggregateFunction(uniqExact, String)
)
ENGINE = {{ merge_tree('AggregatingMergeTree') }}
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace, dimension, network, bucket, type, member)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity_bytes = 262144;

CREATE TABLE IF NOT EXISTS live_engagement_hour AS live_engagement_minute;

CREATE TABLE IF NOT EXISTS engagement_hourly_builds
(
    build_id UUID,
    bucket DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    type LowCardinality(String),
    dimension LowCardinality(String),
    member String,
    events SimpleAggregateFunction(sum, UInt64),
    actors AggregateFunction(uniqExact, String)
)
ENGINE = {{ merge_tree('AggregatingMergeTree') }}
PARTITION BY toYYYYMM(bucket)
ORDER BY (workspace, dimension, network, bucket, build_id, type, member)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity_bytes = 262144;

CREATE TABLE IF NOT EXISTS engagement_daily_builds AS engagement_hourly_builds;

-- Facts: additive integer measures of a family (contracts/facts.py), sealed by day and network. `bucket` is a quarter of an
-- hour, so that days of every time zone are whole buckets. Builds are published in `seals` under the dataset's name.
CREATE TABLE IF NOT EXISTS facts_builds
(
    build_id UUID,
    dataset LowCardinality(String),
    bucket DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    dimension LowCardinality(String),
    member String,
    measure LowCardinality(String),
    value Int64
)
ENGINE = {{ merge_tree('MergeTree') }}
PARTITION BY toYYYYMM(bucket)
ORDER BY (dataset, workspace, dimension, network, bucket, build_id, measure, member)
SETTINGS non_replicated_deduplication_window = 10000;

-- Who earned what: one row per conversion and touchpoint, six models side by side; a conversion that no touch earned has one
-- row of kind 'unattributed' without a touch. Builds are those of the fact dataset `ads`, sealed by day of conversion.
CREATE TABLE IF NOT EXISTS ad_credits_builds
(
    build_id UUID,
    workspace LowCardinality(String),
    network LowCardinality(String),
    actor String,
    advertiser LowCardinality(String),
    conversion_id String,
    converted_at DateTime64(3, 'UTC'),
    revenue_minor Int64,
    touchpoints Int64,
    touch_id String,
    touch_at Nullable(DateTime64(3, 'UTC')),
    kind LowCardinality(String),
    direct UInt8,
    campaign LowCardinality(String),
    ad LowCardinality(String),
    placement LowCardinality(String),
    device LowCardinality(String),
    age LowCardinality(String),
    gender LowCardinality(String),
    country LowCardinality(String),
    credit_first Int64,
    credit_last Int64,
    credit_last_non_direct Int64,
    credit_linear Int64,
    credit_position Int64,
    credit_decay Int64,
    revenue_first Int64,
    revenue_last Int64,
    revenue_last_non_direct Int64,
    revenue_linear Int64,
    revenue_position Int64,
    revenue_decay Int64
)
ENGINE = {{ merge_tree('MergeTree') }}
PARTITION BY toYYYYMM(converted_at)
ORDER BY (network, toStartOfDay(converted_at, 'UTC'), build_id, workspace, conversion_id, touch_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Ads of hours whose day is not sealed, made anew whenever events of their reach arrive (streaming/publisher/live_ads.py).
-- Readers take the newest generation that `live_ad_hours` names for an hour. Rows of one side replace rows of the same side
-- only, and two generations in a row are of two sides: what readers see is never merged away under them.
CREATE TABLE IF NOT EXISTS live_ad_hours
(
    source_hour DateTime('UTC'),
    generation UInt64,
    side UInt8,
    events UInt64
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'generation') }}
ORDER BY source_hour
TTL toDateTime(intDiv(generation, 1000), 'UTC') + INTERVAL 40 DAY;

CREATE TABLE IF NOT EXISTS live_ad_facts
(
    source_hour DateTime('UTC'),
    generation UInt64,
    side UInt8,
    slot UInt32,
    dataset LowCardinality(String),
    bucket DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    dimension LowCardinality(String),
    member String,
    measure LowCardinality(String),
    value Int64
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'generation') }}
ORDER BY (source_hour, side, slot)
TTL toDateTime(intDiv(generation, 1000), 'UTC') + INTERVAL 40 DAY;

CREATE TABLE IF NOT EXISTS live_ad_credits
(
    source_hour DateTime('UTC'),
    generation UInt64,
    side UInt8,
    slot UInt32,
    workspace LowCardinality(String),
    network LowCardinality(String),
    actor String,
    advertiser LowCardinality(String),
    conversion_id String,
    converted_at DateTime64(3, 'UTC'),
    revenue_minor Int64,
    touchpoints Int64,
    touch_id String,
    touch_at Nullable(DateTime64(3, 'UTC')),
    kind LowCardinality(String),
    direct UInt8,
    campaign LowCardinality(String),
    ad LowCardinality(String),
    placement LowCardinality(String),
    device LowCardinality(String),
    age LowCardinality(String),
    gender LowCardinality(String),
    country LowCardinality(String),
    credit_first Int64,
    credit_last Int64,
    credit_last_non_direct Int64,
    credit_linear Int64,
    credit_position Int64,
    credit_decay Int64,
    revenue_first Int64,
    revenue_last Int64,
    revenue_last_non_direct Int64,
    revenue_linear Int64,
    revenue_position Int64,
    revenue_decay Int64
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'generation') }}
ORDER BY (source_hour, side, slot)
TTL toDateTime(intDiv(generation, 1000), 'UTC') + INTERVAL 40 DAY;

-- How far each log partition has been taken: one row per partition after merging. The watermark and freshness read it.
CREATE TABLE IF NOT EXISTS live_progress
(
    log_topic LowCardinality(String),
    log_partition Int32,
    events SimpleAggregateFunction(sum, UInt64),
    oldest_event_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    newest_event_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    newest_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = {{ merge_tree('AggregatingMergeTree') }}
ORDER BY (log_topic, log_partition)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS live_progress_mv TO live_progress AS
SELECT
    log_topic,
    log_partition,
    count() AS events,
    min(event_time) AS oldest_event_time,
    max(event_time) AS newest_event_time,
    max(received_at) AS newest_received_at
FROM events
GROUP BY log_topic, log_partition;

-- Which log positions the archive accounts for: one row per (part, range). Rebuilt from manifests at any time.
CREATE TABLE IF NOT EXISTS archive_ranges
(
    path String,
    ingest_hour DateTime('UTC'),
    log_topic LowCardinality(String),
    log_partition Int32,
    range_start Int64,
    range_end Int64,
    retired UInt8 DEFAULT 0,
    written_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'written_at') }}
ORDER BY (ingest_hour, path, log_topic, log_partition, range_start);

-- What a build is about and from which published builds it is made, written before its first row. Only builders read it.
CREATE TABLE IF NOT EXISTS build_scopes
(
    build_id UUID,
    dataset LowCardinality(String),
    bucket DateTime('UTC'),
    network LowCardinality(String),
    previous_build_id UUID,
    source_bucket DateTime('UTC'),
    source_build_id UUID,
    staged_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {{ merge_tree('MergeTree') }}
ORDER BY (build_id, network, bucket);

-- What a build of facts held when it was published, per table of its rows (`held_in`). The audit compares it with what is there.
CREATE TABLE IF NOT EXISTS build_contents
(
    build_id UUID,
    dataset LowCardinality(String),
    bucket DateTime('UTC'),
    network LowCardinality(String),
    held_in LowCardinality(String),
    rows UInt64,
    hash UInt64
)
ENGINE = {{ merge_tree('ReplacingMergeTree') }}
ORDER BY (dataset, network, bucket, build_id, held_in);

-- What the audit has found, one row per finding after merging; `open` = 0 when it was looked for again and was gone.
CREATE TABLE IF NOT EXISTS audit_findings
(
    store LowCardinality(String),
    kind LowCardinality(String),
    place String,
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64,
    workspace String,
    event_id String,
    bucket DateTime64(3, 'UTC'),
    network LowCardinality(String),
    columns String,
    expected String,
    found String,
    open UInt8,
    seen_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'seen_at') }}
ORDER BY (store, place, kind, log_topic, log_partition, log_offset, bucket, network, workspace, event_id, columns);

-- The auditor's heartbeat: one row after merging.
CREATE TABLE IF NOT EXISTS audit_progress
(
    auditor UInt8 DEFAULT 1,
    at DateTime64(3, 'UTC'),
    round_began_at DateTime64(3, 'UTC'),
    round_seconds Float64,
    positions UInt64,
    covered UInt64,
    findings UInt64
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'at') }}
ORDER BY auditor;

-- What sessions look at in an event (macro session_event_columns), by day and actor, so that one actor's day is a few granules.
-- The projection gives "what has come since this log position?" without a scan. A row may be there twice after a repair.
CREATE TABLE IF NOT EXISTS session_events
(
    workspace LowCardinality(String),
    network LowCardinality(String),
    actor String,
    device_id String,
    event_time DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    event_id UUID,
    view Bool,
    key_event Bool,
    item String,
    campaign LowCardinality(String),
    device LowCardinality(String),
    goal_minor Nullable(Int64),
    goal_currency LowCardinality(String),
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64,
    PROJECTION by_position
    (
        SELECT *
        ORDER BY log_topic, log_partition, log_offset
    )
)
ENGINE = {{ merge_tree('MergeTree') }}
ORDER BY (toStartOfDay(event_time, 'UTC'), workspace, network, actor, device_id, event_time, event_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

-- Sessions as they stand, kept by the publisher's task `sessions`: the newest version of a session counts; `gone` is one that
-- a late event joined to the one before it.
CREATE TABLE IF NOT EXISTS live_sessions
(
    workspace LowCardinality(String),
    network LowCardinality(String),
    actor String,
    device_id String,
    session_id UUID,
    started_at DateTime64(3, 'UTC'),
    ended_at DateTime64(3, 'UTC'),
    first_event_id UUID,
    last_event_id UUID,
    events UInt32,
    events_after_midnight UInt32,
    views UInt32,
    key_events UInt32,
    engaged Bool,
    entry String,
    exit String,
    campaign LowCardinality(String),
    device LowCardinality(String),
    goal_minor Int64,
    goal_currency LowCardinality(String),
    goals_in_other_currencies UInt32,
    steps UInt32,
    path Array(String),
    version UInt64,
    gone Bool
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'version') }}
PARTITION BY toYYYYMM(started_at)
ORDER BY (toStartOfDay(started_at, 'UTC'), workspace, network, actor, device_id, started_at, session_id)
SETTINGS non_replicated_deduplication_window = 0, index_granularity = 1024;

-- How far the task has taken each log partition: the largest offset whose session is in live_sessions.
CREATE TABLE IF NOT EXISTS live_sessions_progress
(
    log_topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64,
    version UInt64
)
ENGINE = {{ merge_tree('ReplacingMergeTree', 'version') }}
ORDER BY (log_topic, log_partition);

-- Sealed sessions, by the UTC day they start on; published in `seals` as dataset `sessions`, together with their facts.
CREATE TABLE IF NOT EXISTS sessions_builds
(
    build_id UUID,
    bucket DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    actor String,
    device_id String,
    session_id UUID,
    started_at DateTime64(3, 'UTC'),
    ended_at DateTime64(3, 'UTC'),
    first_event_id UUID,
    last_event_id UUID,
    events UInt32,
    events_after_midnight UInt32,
    views UInt32,
    key_events UInt32,
    engaged Bool,
    entry String,
    exit String,
    campaign LowCardinality(String),
    device LowCardinality(String),
    goal_minor Int64,
    goal_currency LowCardinality(String),
    goals_in_other_currencies UInt32,
    steps UInt32,
    path Array(String)
)
ENGINE = {{ merge_tree('MergeTree') }}
PARTITION BY toYYYYMM(bucket)
ORDER BY (network, bucket, build_id, workspace, actor, device_id, started_at)
SETTINGS non_replicated_deduplication_window = 10000;

-- Who mentioned which topic in which ten seconds (macro topic_panes). Kept two days: boards look back 75 minutes.
CREATE TABLE IF NOT EXISTS live_topic_panes
(
    pane DateTime('UTC'),
    workspace LowCardinality(String),
    network LowCardinality(String),
    kind LowCardinality(String),
    topic String,
    label SimpleAggregateFunction(min, String),
    actor UInt64,
    events SimpleAggregateFunction(sum, UInt64)
)
ENGINE = {{ merge_tree('AggregatingMergeTree') }}
PARTITION BY toYYYYMMDD(pane)
ORDER BY (kind, pane, workspace, network, topic, actor)
TTL pane + INTERVAL 3 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Since when a network of a workspace is observed: before that, silence says nothing.
CREATE TABLE IF NOT EXISTS live_topic_since
(
    workspace LowCardinality(String),
    network LowCardinality(String),
    since SimpleAggregateFunction(min, DateTime('UTC'))
)
ENGINE = {{ merge_tree('AggregatingMergeTree') }}
ORDER BY (workspace, network)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS live_topic_since_mv TO live_topic_since AS
SELECT workspace, network, min(pane) AS since FROM live_topic_panes GROUP BY workspace, network;

-- Every version of every board that was published: rank 0 is the version itself (topic empty), then its entries.
-- `version` is the instant it was computed, ms since 1970; `hop` the end of its windows.
CREATE TABLE IF NOT EXISTS trend_history
(
    workspace LowCardinality(String),
    network LowCardinality(String),
    window LowCardinality(String),
    kind LowCardinality(String),
    version Int64 CODEC(DoubleDelta, LZ4),
    hop DateTime('UTC') CODEC(DoubleDelta, LZ4),
    rank UInt16,
    topic String,
    label String,
    events Int64,
    distinct_actors Int64,
    effective_actors Float64,
    top_share Float64,
    baseline Int64,
    past_panes Int64,
    log10_p Float64,
    score Float64,
    dampening LowCardinality(String),
    entered_at DateTime64(3, 'UTC')
)
ENGINE = {{ merge_tree('ReplacingMergeTree') }}
PARTITION BY toYYYYMMDD(hop)
ORDER BY (workspace, window, kind, network, version, rank)
TTL hop + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- What came from each provider and when, every copy of an event, and what was handed over to it (`dispatched`). `events`
-- keeps one copy of an event, sorted by message; this keeps all of them, sorted by arrival, for a few days: for the
-- state of the providers, never for that of a message. Reading the log again writes the same rows.
CREATE TABLE IF NOT EXISTS arrivals
(
    received_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    provider LowCardinality(String),
    type LowCardinality(String),
    -- Hashes: copies of an event have the same, and so have the events of what the provider calls one message.
    event UInt64,
    message UInt64,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    partition UInt32,
    offset UInt64,
    position UInt32,
    -- 1: it belongs to a message. 0: to none, as far as is known. The greater one stays.
    has_message UInt8
)
ENGINE = ReplacingMergeTree(has_message)
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (received_at, provider, partition, offset, position)
TTL toDateTime(received_at) + toIntervalDay(8)
SETTINGS ttl_only_drop_parts = 1;

-- A row that is `matched` later takes the place of the orphan's. Older ones would be deleted at once.
CREATE MATERIALIZED VIEW IF NOT EXISTS arrivals_of_events TO arrivals AS
SELECT received_at, provider, type, sipHash64(event_id) AS event,
    if(provider_message_id = '', sipHash64(event_id), sipHash64(provider, provider_message_id)) AS message,
    occurred_at, partition, offset, position, 1 AS has_message
FROM events
WHERE (provider != '') AND (account_id != '*') AND (link != 'withdrawn') AND (received_at >= now() - toIntervalDay(8));

CREATE MATERIALIZED VIEW IF NOT EXISTS arrivals_of_orphans TO arrivals AS
SELECT received_at, provider, type, sipHash64(event_id) AS event,
    if(provider_message_id = '', sipHash64(event_id), sipHash64(provider, provider_message_id)) AS message,
    occurred_at, partition, offset, position, 0 AS has_message
FROM orphans
WHERE received_at >= now() - toIntervalDay(8);

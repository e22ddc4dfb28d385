-- One row for each bounced, blocked or failed event of a message: few of all events, by the address they are about.
CREATE TABLE IF NOT EXISTS bounces
(
    account_id String,
    channel LowCardinality(String),
    address String,
    message_id UUID,
    event_id FixedString(16),
    occurred_at DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    type LowCardinality(String),
    sub_status LowCardinality(String),
    code LowCardinality(String),
    enhanced_code LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    classification LowCardinality(String),
    fault LowCardinality(String),
    partition UInt32,
    offset UInt64,
    position UInt32,
    link LowCardinality(String),
    copy UInt128 MATERIALIZED bitNot(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 76)
        + bitShiftLeft(toUInt128(partition % 4096), 64)
        + bitShiftLeft(toUInt128(offset % 17592186044416), 20)
        + position % 1048576)
)
ENGINE = ReplacingMergeTree(copy)
ORDER BY (account_id, channel, address, message_id, event_id);

-- The ledger writes events; the server makes their bounces on the way. As a request of their own they cost the ledger
-- 5 % of its speed (docs/reference/benchmarks.md). The matcher still writes them itself, and first: what it finds in
-- `events` it takes for done. Copies join, as ever.
CREATE MATERIALIZED VIEW IF NOT EXISTS bounces_of_events TO bounces AS
SELECT
    account_id,
    if(provider = 'twilio', 'sms', 'email') AS channel,
    address,
    message_id,
    event_id,
    occurred_at,
    received_at,
    type,
    sub_status,
    code,
    enhanced_code,
    reason,
    classification,
    fault,
    partition,
    offset,
    position,
    link
FROM events
WHERE type IN ('bounced', 'blocked', 'failed');

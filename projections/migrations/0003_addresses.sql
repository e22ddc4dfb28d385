-- What addresses bounced, and which are closed. Why bounces have a table of their own: docs/adr/0009-addresses.md.

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
    code LowCardinality(String),
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

-- One row for each version of an address and each scope that it states.
CREATE TABLE IF NOT EXISTS suppression_changes
(
    channel LowCardinality(String),
    address String,
    version UInt64,
    scope String,
    suppressed Bool,
    reason LowCardinality(String),
    since DateTime64(6, 'UTC'),
    released_at Nullable(DateTime64(6, 'UTC')),
    actor String,
    evidence Array(String),
    changed_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (channel, address, version, scope);

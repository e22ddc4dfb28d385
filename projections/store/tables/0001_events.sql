-- The event log: one row for each event of a message. Copies of one event meet under its key; the one received first
-- stays: `copy` falls with the time of arrival and the place in the log, and the engine keeps the greatest.
CREATE TABLE IF NOT EXISTS events
(
    account_id String,
    sent_at DateTime64(3, 'UTC') DEFAULT UUIDv7ToDateTime(message_id, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    message_id UUID,
    event_id FixedString(16),
    type LowCardinality(String),
    provider LowCardinality(String),
    provider_message_id String,
    provider_event_id String,
    address String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    code LowCardinality(String),
    enhanced_code LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    classification LowCardinality(String),
    fault LowCardinality(String),
    machine Bool,
    url String CODEC(ZSTD(1)),
    user_agent String CODEC(ZSTD(1)),
    ip String,
    attempt LowCardinality(String),
    group String,
    extra String CODEC(ZSTD(1)),
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    position UInt32,
    -- How the event came to its message. Blank: it names the message, or a copy of it does. `matched`: by a dispatch.
    -- `withdrawn`: it was matched, and a later dispatch under the same provider id showed that it is another message's.
    link LowCardinality(String),
    -- What the event would give a message whose delivery it decides: projections/messages/outcomes.py.
    sub_status LowCardinality(String),
    copy UInt128 MATERIALIZED bitNot(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 76)
        + bitShiftLeft(toUInt128(partition % 4096), 64)
        + bitShiftLeft(toUInt128(offset % 17592186044416), 20)
        + position % 1048576)
)
ENGINE = ReplacingMergeTree(copy)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (account_id, sent_at, message_id, event_id)
-- Merged in wider steps: it is read by the key of a message, and more by events than by messages.
SETTINGS merge_selector_base = 8;

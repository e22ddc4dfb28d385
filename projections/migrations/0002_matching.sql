-- Matching by provider id, and what was sent. Why it is shaped like this: docs/adr/0007-matching.md.

-- How an event came to its message. Blank: it names the message, or a copy of it does. `matched`: by a dispatch.
-- `withdrawn`: it was matched, and a later dispatch under the same provider id showed that it is another message's.
ALTER TABLE events ADD COLUMN IF NOT EXISTS link LowCardinality(String);
-- Orphans ask whether some message has a copy of them: by the id alone, which the table's key does not begin with.
ALTER TABLE events ADD INDEX IF NOT EXISTS event_ids event_id TYPE bloom_filter(0.01) GRANULARITY 1;

-- When the row was stored: a sweep looks at what is new here, whenever it was received.
ALTER TABLE orphans ADD COLUMN IF NOT EXISTS stored_at DateTime('UTC') DEFAULT now();

CREATE TABLE IF NOT EXISTS dispatches
(
    provider LowCardinality(String),
    provider_message_id String,
    account_id String,
    message_id UUID
)
ENGINE = ReplacingMergeTree
ORDER BY (provider, provider_message_id, account_id, message_id);

-- Addresses whose events under a provider id of this message are another message's.
ALTER TABLE message_state ADD COLUMN IF NOT EXISTS
    strangers SimpleAggregateFunction(groupUniqArrayArray, Array(String));
-- 1 once what was sent was told, also after it has expired.
ALTER TABLE message_state ADD COLUMN IF NOT EXISTS
    content SimpleAggregateFunction(max, UInt8);

-- What was sent. Of several contents of one message the one told first stays.
CREATE TABLE IF NOT EXISTS contents
(
    account_id String,
    sent_at DateTime64(3, 'UTC') DEFAULT UUIDv7ToDateTime(message_id, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    message_id UUID,
    html String CODEC(ZSTD(3)),
    text String CODEC(ZSTD(3)),
    received_at DateTime64(6, 'UTC'),
    partition UInt32,
    offset UInt64,
    copy UInt128 MATERIALIZED bitNot(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 76)
        + bitShiftLeft(toUInt128(partition % 4096), 64)
        + toUInt128(offset))
)
ENGINE = ReplacingMergeTree(copy)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (account_id, sent_at, message_id);

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

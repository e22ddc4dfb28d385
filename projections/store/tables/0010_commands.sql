-- One row a command. Of several under one id the one received first stays, as in `events`.
CREATE TABLE IF NOT EXISTS commands
(
    command_id String,
    action LowCardinality(String),
    channel LowCardinality(String),
    address String,
    scope String,
    sender String,
    group String,
    reason String,
    note String,
    actor String,
    at DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    partition UInt32,
    offset UInt64,
    copy UInt128 MATERIALIZED bitNot(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 76)
        + bitShiftLeft(toUInt128(partition % 4096), 64)
        + toUInt128(offset))
)
ENGINE = ReplacingMergeTree(copy)
ORDER BY command_id;

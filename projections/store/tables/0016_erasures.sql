-- One row a message and erasure of its contents: who, when and why. What was erased is in no table.
CREATE TABLE IF NOT EXISTS erasures
(
    account_id String,
    sent_at DateTime64(3, 'UTC') DEFAULT UUIDv7ToDateTime(message_id, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    message_id UUID,
    erasure_id String,
    erased_at DateTime64(6, 'UTC'),
    actor String,
    reason String
)
ENGINE = ReplacingMergeTree
ORDER BY (account_id, sent_at, message_id, erasure_id);

CREATE TABLE IF NOT EXISTS preferences
(
    account_id String,
    recipient_kind LowCardinality(String),
    recipient_id String,
    stated SimpleAggregateFunction(max, Tuple(updated_us Int64, packed String, record String))
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, recipient_kind, recipient_id);

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

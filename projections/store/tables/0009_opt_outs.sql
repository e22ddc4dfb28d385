-- One row for each version of an address and each opt-out that it states; a version that states none has one row of a
-- blank scope, so that it voids the one before.
CREATE TABLE IF NOT EXISTS opt_outs
(
    channel LowCardinality(String),
    address String,
    version UInt64,
    scope String,
    group String,
    sender String,
    reason LowCardinality(String),
    since DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (channel, address, version, scope, group, sender);

-- The messages that were dispatched under a provider's id, by which orphans find them.
CREATE TABLE IF NOT EXISTS dispatches
(
    provider LowCardinality(String),
    provider_message_id String,
    account_id String,
    message_id UUID
)
ENGINE = ReplacingMergeTree
ORDER BY (provider, provider_message_id, account_id, message_id);

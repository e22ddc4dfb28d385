-- Events that match no message: alerts, address-level events, and those that name none of ours (yet).
CREATE TABLE IF NOT EXISTS orphans AS events
ENGINE = ReplacingMergeTree(copy)
ORDER BY (provider, provider_message_id, event_id);
-- When the row was stored: a sweep looks at what is new here, whenever it was received.
ALTER TABLE orphans ADD COLUMN IF NOT EXISTS stored_at DateTime('UTC') DEFAULT now();

-- What a sweep looks at, by the time when it was stored.
CREATE TABLE IF NOT EXISTS recent_orphans
(
    stored_at DateTime('UTC'),
    provider LowCardinality(String),
    provider_message_id String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(stored_at)
ORDER BY (stored_at, provider, provider_message_id)
TTL stored_at + toIntervalDay(35)
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS recent_of_orphans TO recent_orphans AS
SELECT stored_at, provider, provider_message_id FROM orphans
WHERE length(provider_message_id) BETWEEN 1 AND 1000;

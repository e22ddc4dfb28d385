-- From which Date Sent messages are shown. `sendledger migrate` replaces it: projections/store/retention.py.
CREATE VIEW IF NOT EXISTS kept AS
SELECT 0 AS days, toDateTime64('1970-01-01 00:00:00', 3, 'UTC') AS since;

-- The events that can be evidence about an address, of messages and of none (account and message are blank then). They
-- are kept while a suppression rests on them, longer than the messages: projections/store/retention.py.
CREATE TABLE IF NOT EXISTS evidence
(
    event_id FixedString(16),
    account_id String,
    message_id UUID,
    type LowCardinality(String),
    provider LowCardinality(String),
    occurred_at DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    code LowCardinality(String),
    enhanced_code LowCardinality(String),
    classification LowCardinality(String),
    fault LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    link LowCardinality(String),
    -- The copies of an event are ordered as in `events`.
    copy UInt128
)
ENGINE = ReplacingMergeTree(copy)
ORDER BY (event_id, account_id, message_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS evidence_of_events TO evidence AS
SELECT event_id, account_id, message_id, type, provider, occurred_at, received_at, code, enhanced_code, classification,
    fault, reason, link, copy
FROM events
WHERE type IN ('bounced', 'failed', 'complained', 'unsubscribed', 'resubscribed', 'subscription_changed', 'opted_out',
    'opted_in');

CREATE MATERIALIZED VIEW IF NOT EXISTS evidence_of_orphans TO evidence AS
SELECT event_id, '' AS account_id, toUUID('00000000-0000-0000-0000-000000000000') AS message_id, type, provider,
    occurred_at, received_at, code, enhanced_code, classification, fault, reason, link, copy
FROM orphans
WHERE type IN ('bounced', 'failed', 'complained', 'unsubscribed', 'resubscribed', 'subscription_changed', 'opted_out',
    'opted_in');

-- Addresses of events that were matched to an account's message and withdrawn from it later. `addressees` still has
-- them; without this list they could not be told from the others once the events have expired.
CREATE TABLE IF NOT EXISTS withdrawn_addressees
(
    account_id String,
    channel LowCardinality(String),
    address String
)
ENGINE = ReplacingMergeTree
ORDER BY (account_id, channel, address);

CREATE MATERIALIZED VIEW IF NOT EXISTS withdrawn_addressees_of_events TO withdrawn_addressees AS
SELECT DISTINCT account_id, if(provider = 'twilio', 'sms', 'email') AS channel, address
FROM events
WHERE (provider != '') AND (address != '') AND (link = 'withdrawn');

-- What was written before this migration.
INSERT INTO evidence SELECT event_id, account_id, message_id, type, provider, occurred_at, received_at, code,
    enhanced_code, classification, fault, reason, link, copy
FROM events
WHERE type IN ('bounced', 'failed', 'complained', 'unsubscribed', 'resubscribed', 'subscription_changed', 'opted_out',
    'opted_in');
INSERT INTO evidence SELECT event_id, '', toUUID('00000000-0000-0000-0000-000000000000'), type, provider, occurred_at,
    received_at, code, enhanced_code, classification, fault, reason, link, copy
FROM orphans
WHERE type IN ('bounced', 'failed', 'complained', 'unsubscribed', 'resubscribed', 'subscription_changed', 'opted_out',
    'opted_in');
INSERT INTO withdrawn_addressees SELECT DISTINCT account_id, if(provider = 'twilio', 'sms', 'email'), address
FROM events
WHERE (provider != '') AND (address != '') AND (link = 'withdrawn');

-- What links an event to its message, by key: so that matching and evidence read what they ask for, and never the log.

-- The messages that hold events known by something: `provider:id` for the id of the provider's under which they came;
-- the event_id itself (hexadecimal) where there is no such id, or where the event may be evidence about an address.
-- Ids of over 1,000 bytes link nothing: no provider gives such.
CREATE TABLE IF NOT EXISTS holders
(
    known_by String,
    account_id String,
    message_id UUID
)
ENGINE = ReplacingMergeTree
ORDER BY (known_by, account_id, message_id)
-- Few merges: it is only looked up by its key.
SETTINGS index_granularity = 1024, merge_selector_base = 12;

-- Of the state, not of the events: a group has one row a message there.
CREATE MATERIALIZED VIEW IF NOT EXISTS holders_of_state TO holders AS
SELECT
    arrayJoin(arrayFilter(id -> length(id) - position(id, ':') <= 1000, provider_ids)) AS known_by,
    account_id,
    message_id
FROM message_state;

CREATE MATERIALIZED VIEW IF NOT EXISTS holders_of_events TO holders AS
SELECT lower(hex(event_id)) AS known_by, account_id, message_id
FROM events
WHERE type IN ('bounced', 'failed', 'complained', 'unsubscribed', 'resubscribed', 'subscription_changed', 'opted_out',
        'opted_in')
    OR ((provider != '') AND (length(provider_message_id) NOT BETWEEN 1 AND 1000));

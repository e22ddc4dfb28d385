-- The addresses that an account has sent to: the To and the CCs of what it requested, and whom providers name in events
-- of its messages. An account sees a platform-wide suppression of these alone, and has some thousand times as many
-- messages as it has addresses.
CREATE TABLE IF NOT EXISTS addressees
(
    account_id String,
    channel LowCardinality(String),
    address String
)
ENGINE = ReplacingMergeTree
ORDER BY (account_id, channel, address)
SETTINGS index_granularity = 1024, merge_selector_base = 12;

CREATE MATERIALIZED VIEW IF NOT EXISTS addressees_of_requests TO addressees AS
SELECT DISTINCT
    account_id,
    if(bitAnd(bitShiftRight(toUInt16(intent), 4), 255) = 2, 'sms', 'email') AS channel,
    arrayJoin(arrayConcat([substring(to_key, 17)], copied_to)) AS address
FROM message_state
WHERE to_key != '';

CREATE MATERIALIZED VIEW IF NOT EXISTS addressees_of_events TO addressees AS
SELECT DISTINCT account_id, if(provider = 'twilio', 'sms', 'email') AS channel, address
FROM events
WHERE (provider != '') AND (address != '') AND (link != 'withdrawn');

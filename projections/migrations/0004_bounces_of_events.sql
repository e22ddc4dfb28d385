-- The ledger writes events; the server makes their bounces on the way. As a request of their own they cost the ledger
-- 5 % of its speed (docs/reference/benchmarks.md). The matcher still writes them itself, and first: what it finds in
-- `events` it takes for done. Copies join, as ever.
CREATE MATERIALIZED VIEW IF NOT EXISTS bounces_of_events TO bounces AS
SELECT
    account_id,
    if(provider = 'twilio', 'sms', 'email') AS channel,
    address,
    message_id,
    event_id,
    occurred_at,
    received_at,
    code,
    reason,
    classification,
    fault,
    partition,
    offset,
    position,
    link
FROM events
WHERE type IN ('bounced', 'blocked', 'failed');

-- An address (To or CC) that an account had bounced, blocked or failed messages to.
CREATE OR REPLACE VIEW bounced_emails AS
SELECT
    b.account_id AS account_id,
    b.channel AS channel,
    b.to AS address,
    b.bounces AS bounces,
    b.first_bounced_at AS first_bounced_at,
    b.last_bounced_at AS last_bounced_at,
    b.last_reason AS last_reason,
    b.last_code AS last_code,
    b.last_classification AS last_classification,
    b.last_fault AS last_fault,
    b.recipient_kind AS recipient_kind,
    b.recipient_id AS recipient_id,
    b.last_email_id AS last_email_id,
    ((b.channel, b.to, '*') IN (SELECT channel, address, scope FROM suppressions WHERE suppressed)
        OR (b.channel, b.to, b.account_id) IN (SELECT channel, address, scope FROM suppressions WHERE suppressed))::Bool
        AS suppressed
FROM
(
    SELECT
        e.account_id AS account_id,
        -- An SMS has no CC: what names it, or was matched to it, is its To's, whatever the spelling.
        if(m.channel = 'sms', 'sms', toString(e.channel)) AS channel,
        if((e.address = '') OR (m.channel = 'sms'), m.to_key, e.address) AS to,
        uniqExact(e.message_id) AS bounces,
        min(e.occurred_at) AS first_bounced_at,
        max(e.occurred_at) AS last_bounced_at,
        argMax(e.reason, (e.occurred_at, e.event_id)) AS last_reason,
        toString(argMax(e.code, (e.occurred_at, e.event_id))) AS last_code,
        toString(argMax(e.classification, (e.occurred_at, e.event_id))) AS last_classification,
        toString(argMax(e.fault, (e.occurred_at, e.event_id))) AS last_fault,
        -- The recipient is the To's: of an address that is only a CC nobody says whose it is.
        argMax(m.recipient_kind, (m.to_key = to, e.occurred_at, e.event_id)) AS kind_of_last,
        argMax(m.recipient_id, (m.to_key = to, e.occurred_at, e.event_id)) AS id_of_last,
        max(m.to_key = to) AS is_a_to,
        if(is_a_to, kind_of_last, '') AS recipient_kind,
        if(is_a_to, id_of_last, '') AS recipient_id,
        argMax(e.message_id, (e.occurred_at, e.event_id)) AS last_email_id
    FROM bounces AS e FINAL
    LEFT JOIN
    (
        SELECT
            account_id, message_id,
            tupleElement(attributes, 'channel') AS channel,
            tupleElement(request, 'to_key') AS to_key,
            tupleElement(attributes, 'recipient_kind') AS recipient_kind,
            tupleElement(request, 'recipient_id') AS recipient_id
        FROM message_state FINAL
        WHERE (account_id, sent_at, message_id) IN
            (SELECT x.account_id, UUIDv7ToDateTime(x.message_id, 'UTC'), x.message_id FROM bounces AS x)
    ) AS m ON e.account_id = m.account_id AND e.message_id = m.message_id
    WHERE e.link != 'withdrawn'
    GROUP BY account_id, channel, to
) AS b
WHERE b.to != '';

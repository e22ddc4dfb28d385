-- One row per event that matches no message.
CREATE OR REPLACE VIEW orphan_events AS
SELECT
    o.account_id AS account_id,
    o.message_id AS email_id,
    lower(hex(o.event_id)) AS event_id,
    o.type AS type,
    o.provider AS provider,
    o.occurred_at AS occurred_at,
    o.received_at AS received_at,
    o.address AS address,
    false AS cc,
    o.code AS code,
    o.enhanced_code AS enhanced_code,
    o.classification AS classification,
    o.fault AS fault,
    o.reason AS reason,
    o.machine AS machine,
    o.url AS url,
    concat(o.topic, '/', toString(o.partition), '/', toString(o.offset), '/', toString(o.position)) AS source,
    o.provider_message_id AS provider_message_id,
    o.provider_event_id AS provider_event_id,
    o.user_agent AS user_agent,
    o.ip AS ip,
    o.attempt AS attempt,
    o.group AS group,
    o.extra AS extra
FROM orphans AS o FINAL
-- An orphan has no Date Sent: it expires by the time of its arrival.
WHERE (o.received_at >= (SELECT since FROM kept)) AND o.event_id NOT IN
(
    -- Events that belong to a message: a copy has our ids, or a dispatch links it. `*` rows are about an address only.
    -- All copies have the same provider id, or none, so `holders` finds the messages whose events must be read.
    SELECT e.event_id FROM events AS e
    WHERE (e.account_id, e.sent_at, e.message_id) IN
    (
        SELECT h.account_id, UUIDv7ToDateTime(h.message_id, 'UTC'), h.message_id FROM holders AS h
        WHERE h.known_by IN
        (
            SELECT if(length(x.provider_message_id) BETWEEN 1 AND 1000,
                concat(x.provider, ':', x.provider_message_id), lower(hex(x.event_id)))
            FROM orphans AS x
        )
    )
    AND e.event_id IN (SELECT x.event_id FROM orphans AS x) AND e.account_id != '*'
    AND e.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC')
    GROUP BY e.account_id, e.message_id, e.event_id
    HAVING argMax(e.link, e.copy) != 'withdrawn'
);

-- An event of a message, once. `cc`: its address is not the message's To. An SMS has no CC, whatever the spelling.
CREATE OR REPLACE VIEW message_events AS
SELECT
    e.account_id AS account_id,
    e.message_id AS email_id,
    lower(hex(e.event_id)) AS event_id,
    e.type AS type,
    e.provider AS provider,
    e.occurred_at AS occurred_at,
    e.received_at AS received_at,
    e.address AS address,
    ((e.address != '') AND (s.to_key != '') AND (e.address != s.to_key) AND (s.channel != 'sms'))::Bool AS cc,
    e.code AS code,
    e.enhanced_code AS enhanced_code,
    e.classification AS classification,
    e.fault AS fault,
    e.reason AS reason,
    e.machine AS machine,
    e.url AS url,
    concat(e.topic, '/', toString(e.partition), '/', toString(e.offset), '/', toString(e.position)) AS source,
    e.provider_message_id AS provider_message_id,
    e.provider_event_id AS provider_event_id,
    e.user_agent AS user_agent,
    e.ip AS ip,
    e.attempt AS attempt,
    e.group AS group,
    e.extra AS extra,
    e.link AS link
FROM events AS e FINAL
LEFT ANY JOIN
(
    SELECT
        account_id, sent_at, message_id,
        tupleElement(request, 'to_key') AS to_key,
        tupleElement(attributes, 'channel') AS channel
    FROM message_state FINAL
) AS s ON e.account_id = s.account_id AND e.sent_at = s.sent_at AND e.message_id = s.message_id
-- An id of a later time is none; there are rows of such from before they were refused.
WHERE (e.link != 'withdrawn') AND (e.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'));

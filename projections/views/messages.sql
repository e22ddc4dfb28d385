-- A row a message. The parts of an axis are read by functions, never as `axis.part`: under FINAL that reads the first
-- row's value, not the merged one.
CREATE OR REPLACE VIEW messages AS
WITH
    tupleElement(decision, 'outcome') AS outcome,
    (tupleElement(decision, 'present') = 1 AND outcome != 'approved') AS refused,
    tupleElement(dispatch, 'present') = 1 AS dispatched,

    -- Until a request tells the To, every address counts as it but those of other messages; an event without an
    -- address is the To's. One that was matched has `?` for none, so that it can be taken back.
    (type -> if(to_key = '',
        arrayMax((k, v) -> if(startsWith(k, concat(type, ':')) AND NOT has(strangers, substring(k, length(type) + 2)),
            v, toUInt64(0)), mapKeys(firsts), mapValues(firsts)),
        greatest(firsts[concat(type, ':', to_key)], firsts[concat(type, ':')],
            if(has(strangers, '?'), 0, firsts[concat(type, ':?')])))) AS first_of,
    (type -> least(1000, if(to_key = '',
        arraySum((k, v) -> if(startsWith(k, concat(type, ':')) AND NOT has(strangers, substring(k, length(type) + 2)),
            length(v), 0), mapKeys(counted), mapValues(counted)),
        length(counted[concat(type, ':', to_key)]) + length(counted[concat(type, ':')])
            + if(has(strangers, '?'), 0, length(counted[concat(type, ':?')]))))) AS count_of,
    (inverse -> if(inverse = 0, NULL,
        fromUnixTimestamp64Micro(4611686018427387904 - toInt64(inverse), 'UTC'))) AS time_of,

    first_of('delivered') AS delivered,
    greatest(first_of('bounced'), first_of('blocked'), first_of('failed')) AS bounced,
    first_of('opened') AS opened,
    first_of('clicked') AS clicked,
    first_of('processed') AS processed,

    -- The mark that wins: of the highest rank, then one with a code, then the earliest, then of the smallest id.
    (v -> (tupleElement(v, 'address') = '') OR if((to_key = '') OR (tupleElement(v, 'address') = '?'),
        NOT has(strangers, tupleElement(v, 'address')), tupleElement(v, 'address') = to_key)) AS is_own,
    arrayFilter(v -> is_own(v), mapValues(marks)) AS own,
    arrayFilter((k, v) -> is_own(v), mapKeys(marks), mapValues(marks)) AS own_ids,
    arrayReduce('argMinIf', own, arrayMap(
        (k, v) -> (8 - tupleElement(v, 'rank'), tupleElement(v, 'code') = '', tupleElement(v, 'at'), k),
        own_ids, own), arrayMap(v -> tupleElement(v, 'rank') > 0, own)) AS winner,
    arrayReduce('argMaxIf', own, arrayMap((k, v) -> (tupleElement(v, 'at'), k), own_ids, own),
        arrayMap(v -> tupleElement(v, 'rank') = 0, own)) AS subscription,
    arrayMax(v -> if(tupleElement(v, 'rank') = 4, tupleElement(v, 'at'), 0), own) AS last_delivered,

    multiIf(
        outcome = 'blocked', 'Blocked',
        outcome = 'declined', 'Declined',
        outcome = 'not_opted_in', 'Not_opted_in',
        outcome = 'suppressed', 'Suppressed',
        outcome = 'quota_exceeded', 'Quota_Exceeded',
        bounced > 0, 'Bounced',
        first_of('dropped') > 0, 'Dropped',
        first_of('subscription_changed') > 0, 'Subscriptionchange',
        clicked > 0, 'Clicked',
        opened > 0, 'Opened',
        (delivered > 0) OR (first_of('machine_opened') > 0) OR (first_of('machine_clicked') > 0), 'Delivered',
        (processed > 0) OR (first_of('deferred') > 0) OR (first_of('sent') > 0), 'Processed',
        'Pending') AS display_status
SELECT
    account_id,
    message_id AS email_id,
    tupleElement(request, 'channel') AS channel,
    tupleElement(request, 'template_name') AS type,
    tupleElement(request, 'template_id') AS template_id,
    tupleElement(request, 'recipient_kind') AS sent_to,
    tupleElement(request, 'recipient_id') AS recipient_id,
    tupleElement(request, 'to_address') AS to_address,
    if(position(to_key, '@') > 0, arrayElement(splitByChar('@', to_key), -1), '') AS to_domain,
    arrayStringConcat(tupleElement(request, 'cc'), ', ') AS cc_address,
    tupleElement(request, 'subject') AS subject,
    display_status AS status,
    multiIf(
        display_status IN ('Bounced', 'Dropped'), tupleElement(winner, 'sub_status'),
        display_status = 'Subscriptionchange', tupleElement(subscription, 'classification'),
        display_status = 'Processed',
        multiIf(first_of('sent') > 0, 'sent', first_of('deferred') > 0, 'deferred', 'processed'),
        '') AS sub_status,
    if(refused, tupleElement(decision, 'detail'), tupleElement(winner, 'reason')) AS reason,
    if(refused, tupleElement(decision, 'reason'), tupleElement(winner, 'code')) AS code,
    if(refused, '', tupleElement(winner, 'enhanced_code')) AS enhanced_code,
    if(refused, '', tupleElement(winner, 'classification')) AS classification,
    sent_at AS date_sent,
    time_of(tupleElement(decision, 'inverse_at')) AS decided_at,
    time_of(tupleElement(dispatch, 'inverse_at')) AS dispatched_at,
    time_of(processed) AS processed_at,
    time_of(delivered) AS delivered_at,
    time_of(bounced) AS bounced_at,
    time_of(opened) AS opened_at,
    time_of(clicked) AS clicked_at,
    count_of('opened') AS opens,
    count_of('machine_opened') AS machine_opens,
    count_of('clicked') AS clicks,
    count_of('deferred') AS attempts,
    (first_of('complained') > 0)::Bool AS complained,
    if(dispatched, tupleElement(dispatch, 'provider'), tupleElement(seen, 'provider')) AS provider,
    if(dispatched, tupleElement(dispatch, 'provider_message_id'), tupleElement(seen, 'provider_message_id'))
        AS provider_message_id,
    tupleElement(request, 'appointment_id') AS appointment_id,
    tupleElement(request, 'to_key') AS to_key,
    tupleElement(request, 'cc_keys') AS cc_keys,
    (content > 0)::Bool AS has_content,
    arrayFilter(anomaly -> anomaly != '', [
        if(length(contents) > 1, 'conflicting_requests', ''),
        if(refused AND tupleElement(seen, 'present') > 0, 'event_after_refusal', ''),
        if((bounced > 0) AND (last_delivered > 4611686018427387904 - toInt64(bounced)), 'delivered_after_bounce', ''),
        if(dispatched AND arrayExists(id -> id != concat(tupleElement(dispatch, 'provider'), ':',
            tupleElement(dispatch, 'provider_message_id')), provider_ids), 'id_mismatch', '')]) AS anomalies
FROM message_state FINAL;

-- Recompute the rows of `messages` from the event log alone. This states the rules a second time, in SQL that shares
-- nothing with `message_state` or the view over it; `verify` compares the two.
-- Production reads never use it, since it reads the whole event log.
WITH
    log AS
    (
        SELECT
            e.account_id AS account,
            e.message_id AS id,
            e.event_id AS event_id,
            toString(e.type) AS kind,
            toString(e.provider) AS provider,
            e.provider_message_id AS provider_id,
            e.address AS address,
            e.occurred_at AS at,
            toString(e.code) AS code,
            toString(e.enhanced_code) AS enhanced_code,
            e.reason AS reason,
            toString(e.classification) AS classification,
            toString(e.fault) AS fault,
            e.machine AS machine,
            if(e.type = 'decided', JSONExtractRaw(e.extra, 'request'), e.extra) AS payload,
            e.type NOT IN ('requested', 'decided', 'dispatched') AS from_provider,
            indexOf(['processed', 'deferred', 'sent', 'delivered', 'dropped', 'failed', 'blocked', 'bounced'],
                toString(e.type)) AS rank
        FROM events AS e FINAL
        WHERE e.link != 'withdrawn' AND e.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC')
            AND e.sent_at >= (SELECT since FROM kept)
            AND cityHash64(e.account_id, e.message_id) % {parts:UInt32} = {part:UInt32}
    ),
    facts AS
    (
        SELECT
            account, id,
            countIf(kind = 'decided') > 0 AS is_decided,
            argMinIf((classification, code, reason, payload, address), (at, event_id), kind = 'decided') AS decision,
            minIf(at, kind = 'decided') AS decided,
            argMinIf((payload, address), (at, event_id), kind = 'requested') AS request,
            countIf(kind = 'dispatched') > 0 AS is_dispatched,
            argMinIf((provider, provider_id), (at, event_id), kind = 'dispatched') AS dispatch,
            minIf(at, kind = 'dispatched') AS dispatched,
            uniqExactIf(payload, kind IN ('requested', 'decided')) AS contents,
            countIf(from_provider) > 0 AS has_events,
            argMinIf((provider, provider_id), (provider_id = '', at, event_id), from_provider) AS first_reported,
            groupUniqArrayIf((provider, provider_id), from_provider AND provider_id != '') AS reported_ids
        FROM log GROUP BY account, id
    ),
    recipients AS
    (
        SELECT
            *,
            if(is_decided, tupleElement(decision, 4), tupleElement(request, 1)) AS request_json,
            if(account = '*', '', if(is_decided, tupleElement(decision, 5), tupleElement(request, 2))) AS to_key,
            JSONExtractString(request_json, 'channel') = 'sms' AS is_sms
        FROM facts
    ),
    outcomes AS
    (
        SELECT
            l.account AS account, l.id AS id,
            maxIf(l.rank, l.own) AS best,
            argMinIf((l.kind, l.provider, l.code, l.enhanced_code, l.reason, l.classification, l.fault),
                (-l.rank, l.code = '', l.at, l.event_id), l.own AND l.rank > 0) AS winner,
            argMaxIf(l.classification, (l.at, l.event_id), l.own AND l.kind = 'subscription_changed') AS change,
            countIf(l.own AND l.kind = 'subscription_changed') > 0 AS is_changed,
            minIf(l.at, l.own AND l.kind = 'processed') AS processed,
            countIf(l.own AND l.kind = 'processed') > 0 AS is_processed,
            minIf(l.at, l.own AND l.kind = 'delivered') AS delivered,
            maxIf(l.at, l.own AND l.kind = 'delivered') AS last_delivered,
            countIf(l.own AND l.kind = 'delivered') > 0 AS is_delivered,
            minIf(l.at, l.own AND l.kind IN ('bounced', 'blocked', 'failed')) AS bounced,
            countIf(l.own AND l.kind IN ('bounced', 'blocked', 'failed')) > 0 AS is_bounced,
            minIf(l.at, l.own AND l.kind = 'opened' AND NOT l.machine) AS opened,
            minIf(l.at, l.own AND l.kind = 'clicked' AND NOT l.machine) AS clicked,
            uniqExactIf(l.event_id, l.own AND l.kind = 'opened' AND NOT l.machine) AS human_open_count,
            uniqExactIf(l.event_id, l.own AND l.kind = 'opened' AND l.machine) AS machine_open_count,
            uniqExactIf(l.event_id, l.own AND l.kind = 'clicked' AND NOT l.machine) AS human_click_count,
            countIf(l.own AND l.kind IN ('opened', 'clicked')) > 0 AS is_engaged,
            uniqExactIf(l.event_id, l.own AND l.kind = 'deferred') AS deferrals,
            countIf(l.own AND l.kind = 'complained') > 0 AS is_complained,
            any(l.address_as_written) AS any_address_as_written,
            any(l.address) AS any_address
        FROM
        (
            SELECT
                log.*,
                log.from_provider AND ((log.address = '') OR (recipients.to_key = '') OR recipients.is_sms
                    OR (log.address = recipients.to_key)) AS own,
                coalesce(nullIf(JSONExtractString(log.payload, 'Recipient'), ''),
                    nullIf(JSONExtractString(log.payload, 'Email'), ''), log.address) AS address_as_written
            FROM log INNER JOIN recipients ON log.account = recipients.account AND log.id = recipients.id
        ) AS l
        GROUP BY account, id
    )
SELECT
    w.account AS account_id,
    w.id AS email_id,
    if(w.account = '*', 'email', JSONExtractString(w.request_json, 'channel')) AS channel,
    if(w.account = '*', 'Suppression list', JSONExtractString(w.request_json, 'template_name')) AS type,
    JSONExtractString(w.request_json, 'template_id') AS template_id,
    JSONExtractString(w.request_json, 'recipient_kind') AS sent_to,
    JSONExtractString(w.request_json, 'recipient_id') AS recipient_id,
    if(w.account = '*', h.any_address_as_written, JSONExtractString(w.request_json, 'to')) AS to_address,
    if(w.account = '*', h.any_address, w.to_key) AS to_key,
    if(position(to_key, '@') > 0, splitByChar('@', to_key)[-1], '') AS to_domain,
    arrayStringConcat(JSONExtract(w.request_json, 'cc', 'Array(String)'), ', ') AS cc_address,
    JSONExtractString(w.request_json, 'subject') AS subject,
    tupleElement(w.decision, 1) AS outcome,
    w.is_decided AND outcome != 'approved' AS refused,
    multiIf(
        refused, transform(outcome,
            ['blocked', 'declined', 'not_opted_in', 'suppressed', 'quota_exceeded'],
            ['Blocked', 'Declined', 'Not_opted_in', 'Suppressed', 'Quota_Exceeded'], ''),
        h.best >= 6, 'Bounced',
        h.best = 5, 'Dropped',
        h.is_changed, 'Subscriptionchange',
        h.human_click_count > 0, 'Clicked',
        h.human_open_count > 0, 'Opened',
        (h.best = 4) OR h.is_engaged, 'Delivered',
        h.best > 0, 'Processed',
        'Pending') AS status,
    multiIf(
        status = 'Bounced', multiIf(
            tupleElement(h.winner, 1) = 'failed',
            if(trimBoth(tupleElement(h.winner, 6)) = '', 'failed', lower(trimBoth(tupleElement(h.winner, 6)))),
            tupleElement(h.winner, 1) = 'blocked', 'blocked',
            transform(tupleElement(h.winner, 7), ['recipient', 'mailbox', 'infrastructure', 'sender'],
                ['hard', 'soft', 'soft', 'blocked'], 'unclassified')),
        status = 'Dropped', multiIf(
            tupleElement(h.winner, 2) = 'twilio', 'canceled',
            tupleElement(h.winner, 2) = 'postmark',
            if(tupleElement(h.winner, 3) = 'ManuallyDeactivated', 'inactive', 'other'),
            startsWith(lower(trimBoth(tupleElement(h.winner, 5))), 'spam content'), 'content',
            transform(lower(trimBoth(tupleElement(h.winner, 5))),
                ['bounced address', 'bounce', 'unsubscribed address', 'spam reporting address', 'invalid',
                    'invalid smtpapi header', 'recipient list over package quota', 'duplicate message'],
                ['bounced', 'bounced', 'unsubscribed', 'spam', 'invalid', 'invalid', 'quota', 'duplicate'], 'other')),
        status = 'Subscriptionchange', h.change,
        status = 'Processed', ['processed', 'deferred', 'sent'][h.best],
        '') AS sub_status,
    if(refused, tupleElement(w.decision, 3), tupleElement(h.winner, 5)) AS reason,
    if(refused, tupleElement(w.decision, 2), tupleElement(h.winner, 3)) AS code,
    if(refused, '', tupleElement(h.winner, 4)) AS enhanced_code,
    if(refused, '', tupleElement(h.winner, 6)) AS classification,
    UUIDv7ToDateTime(w.id, 'UTC') AS date_sent,
    if(w.is_decided, w.decided, NULL) AS decided_at,
    if(w.is_dispatched, w.dispatched, NULL) AS dispatched_at,
    if(h.is_processed, h.processed, NULL) AS processed_at,
    if(h.is_delivered, h.delivered, NULL) AS delivered_at,
    if(h.is_bounced, h.bounced, NULL) AS bounced_at,
    if(h.human_open_count > 0, h.opened, NULL) AS opened_at,
    if(h.human_click_count > 0, h.clicked, NULL) AS clicked_at,
    least(1000, h.human_open_count) AS opens,
    least(1000, h.machine_open_count) AS machine_opens,
    least(1000, h.human_click_count) AS clicks,
    least(1000, h.deferrals) AS attempts,
    h.is_complained::Bool AS complained,
    tupleElement(if(w.is_dispatched, w.dispatch, w.first_reported), 1) AS provider,
    tupleElement(if(w.is_dispatched, w.dispatch, w.first_reported), 2) AS provider_message_id,
    JSONExtractString(w.request_json, 'appointment_id') AS appointment_id,
    arrayFilter(anomaly -> anomaly != '', [
        if(w.contents > 1, 'conflicting_requests', ''),
        if(refused AND w.has_events, 'event_after_refusal', ''),
        if(h.is_bounced AND h.is_delivered AND (h.last_delivered > h.bounced), 'delivered_after_bounce', ''),
        if(w.is_dispatched AND arrayExists(id -> id != w.dispatch, w.reported_ids), 'id_mismatch', '')]) AS anomalies
FROM recipients AS w INNER JOIN outcomes AS h ON w.account = h.account AND w.id = h.id

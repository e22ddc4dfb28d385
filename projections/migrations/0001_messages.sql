-- The event log, the state of each message as joins of axes, and the views that read them.
-- Why it is shaped like this: docs/adr/0003-state-as-joins.md. What it must give: projections/messages/law.py.

-- One row for each event of a message. Copies of one event meet under its key; the one received first stays: `copy`
-- falls with the time of arrival and the place in the log, and the engine keeps the greatest.
CREATE TABLE IF NOT EXISTS events
(
    account_id String,
    sent_at DateTime64(3, 'UTC') DEFAULT UUIDv7ToDateTime(message_id, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    message_id UUID,
    event_id FixedString(16),
    type LowCardinality(String),
    provider LowCardinality(String),
    provider_message_id String,
    provider_event_id String,
    address String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    code LowCardinality(String),
    enhanced_code LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    classification LowCardinality(String),
    fault LowCardinality(String),
    machine Bool,
    url String CODEC(ZSTD(1)),
    user_agent String CODEC(ZSTD(1)),
    ip String,
    attempt LowCardinality(String),
    group String,
    extra String CODEC(ZSTD(1)),
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,
    position UInt32,
    copy UInt128 MATERIALIZED bitNot(
        bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 76)
        + bitShiftLeft(toUInt128(partition % 4096), 64)
        + bitShiftLeft(toUInt128(offset % 17592186044416), 20)
        + position % 1048576)
)
ENGINE = ReplacingMergeTree(copy)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (account_id, sent_at, message_id, event_id);

-- Events that match no message: alerts, address-level events, and those that name none of ours (yet).
CREATE TABLE IF NOT EXISTS orphans AS events
ENGINE = ReplacingMergeTree(copy)
ORDER BY (provider, provider_message_id, event_id);

-- The state of a message. Each column is one axis and a join: in any order, with any repeats, the merges of the parts
-- give the same state. The default of each is its identity, so a row states only the axes that it knows of:
--   an early time is kept as 2^62 - time, so that the greater is the earlier and 0 is none;
--   a small hash is kept as its complement, so that the greater is the smaller;
--   a tuple begins with 1 where it is there.
CREATE TABLE IF NOT EXISTS message_state
(
    account_id String,
    sent_at DateTime64(3, 'UTC') DEFAULT UUIDv7ToDateTime(message_id, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    message_id UUID,
    -- the earliest decision
    decision SimpleAggregateFunction(max, Tuple(
        present UInt8, inverse_at UInt64, inverse_hash FixedString(16),
        outcome String, reason String, detail String)),
    -- present is 2 for a decision's request (ordered as the decision), 1 for a request itself
    request SimpleAggregateFunction(max, Tuple(
        present UInt8, inverse_at UInt64, inverse_hash FixedString(16),
        channel String, template_id String, template_name String, recipient_kind String, recipient_id String,
        to_address String, to_key String, cc Array(String), cc_keys Array(String), subject String, appointment_id String)),
    -- the contents that requests and decisions state; two of them are all that a conflict needs
    contents SimpleAggregateFunction(groupUniqArrayArray(2), Array(FixedString(16))),
    dispatch SimpleAggregateFunction(max, Tuple(
        present UInt8, inverse_at UInt64, inverse_hash FixedString(16),
        provider String, provider_message_id String)),
    -- the earliest provider event: present is 1 without an id of the provider's and 2 with one
    seen SimpleAggregateFunction(max, Tuple(
        present UInt8, inverse_at UInt64, inverse_hash FixedString(16),
        provider String, provider_message_id String)),
    -- `provider:id` of its events; of any three different ones two differ from a dispatch's
    provider_ids SimpleAggregateFunction(groupUniqArrayArray(2), Array(String)),
    -- `type:address` (machine_opened for a machine's open) to the first time, inverse
    firsts SimpleAggregateFunction(maxMap, Map(String, UInt64)),
    -- `type:address` to the first 8 bytes of each event_id: counts that duplicates don't change
    counted SimpleAggregateFunction(groupUniqArrayArrayMap(1000), Map(String, Array(UInt64))),
    -- event_id to what a delivery event (rank 1 to 8) or a subscription change (rank 0) says, as its first copy says
    -- it: the value begins with the place of the copy, so that the greatest is the one received first
    marks SimpleAggregateFunction(maxMap, Map(FixedString(16), Tuple(
        inverse_received UInt64, inverse_partition UInt32, inverse_place UInt64,
        rank UInt8, at Int64, address String,
        code String, enhanced_code String, reason String, classification String, sub_status String)))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(sent_at)
ORDER BY (account_id, sent_at, message_id);

-- A row a message. The parts of an axis are read by functions, never as `axis.part`: under FINAL that reads the first
-- row's value, not the merged one.
CREATE VIEW IF NOT EXISTS messages AS
WITH
    tupleElement(decision, 'outcome') AS outcome,
    (tupleElement(decision, 'present') = 1 AND outcome != 'approved') AS refused,
    tupleElement(dispatch, 'present') = 1 AS dispatched,

    -- Until a request tells the To, every address counts as it; an event without an address is the To's.
    (type -> if(to_key = '',
        arrayMax((k, v) -> if(startsWith(k, concat(type, ':')), v, toUInt64(0)), mapKeys(firsts), mapValues(firsts)),
        greatest(firsts[concat(type, ':', to_key)], firsts[concat(type, ':')]))) AS first_of,
    (type -> least(1000, if(to_key = '',
        arraySum((k, v) -> if(startsWith(k, concat(type, ':')), length(v), 0), mapKeys(counted), mapValues(counted)),
        length(counted[concat(type, ':', to_key)]) + length(counted[concat(type, ':')])))) AS count_of,
    (inverse -> if(inverse = 0, NULL,
        fromUnixTimestamp64Micro(4611686018427387904 - toInt64(inverse), 'UTC'))) AS time_of,

    first_of('delivered') AS delivered,
    greatest(first_of('bounced'), first_of('blocked'), first_of('failed')) AS bounced,
    first_of('opened') AS opened,
    first_of('clicked') AS clicked,
    first_of('processed') AS processed,

    -- The mark that wins: of the highest rank, then one with a code, then the earliest, then of the smallest id.
    (v -> (to_key = '') OR (tupleElement(v, 'address') = '') OR (tupleElement(v, 'address') = to_key)) AS is_own,
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
    arrayFilter(anomaly -> anomaly != '', [
        if(length(contents) > 1, 'conflicting_requests', ''),
        if(refused AND tupleElement(seen, 'present') > 0, 'event_after_refusal', ''),
        if((bounced > 0) AND (last_delivered > 4611686018427387904 - toInt64(bounced)), 'delivered_after_bounce', ''),
        if(dispatched AND arrayExists(id -> id != concat(tupleElement(dispatch, 'provider'), ':',
            tupleElement(dispatch, 'provider_message_id')), provider_ids), 'id_mismatch', '')]) AS anomalies
FROM message_state FINAL;

-- An event of a message, once. `cc`: its address is not the message's To.
CREATE VIEW IF NOT EXISTS message_events AS
SELECT
    e.account_id AS account_id,
    e.message_id AS email_id,
    lower(hex(e.event_id)) AS event_id,
    e.type AS type,
    e.provider AS provider,
    e.occurred_at AS occurred_at,
    e.received_at AS received_at,
    e.address AS address,
    ((e.address != '') AND (s.to_key != '') AND (e.address != s.to_key))::Bool AS cc,
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
    e.extra AS extra
FROM events AS e FINAL
LEFT ANY JOIN
(
    SELECT account_id, sent_at, message_id, tupleElement(request, 'to_key') AS to_key FROM message_state FINAL
) AS s ON e.account_id = s.account_id AND e.sent_at = s.sent_at AND e.message_id = s.message_id;

CREATE VIEW IF NOT EXISTS orphan_events AS
SELECT
    account_id,
    message_id AS email_id,
    lower(hex(event_id)) AS event_id,
    type, provider, occurred_at, received_at, address,
    false AS cc,
    code, enhanced_code, classification, fault, reason, machine, url,
    concat(topic, '/', toString(partition), '/', toString(offset), '/', toString(position)) AS source,
    provider_message_id, provider_event_id, user_agent, ip, attempt, group, extra
FROM orphans FINAL;

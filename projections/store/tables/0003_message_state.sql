-- The state of a message. Each column is one axis and a join: in any order, with any repeats, the merges of the parts
-- give the same state. The default of each is its identity, so a row states only the axes that it knows of:
--   an early time is kept as 2^62 - time, so that the greater is the earlier and 0 is none;
--   a hash is kept as its first 8 bytes, and a small one as its complement, so that the greater is the smaller;
--   a tuple begins with a number above 0 where it is there.
-- The axes of events are joined over all addresses. For nearly all messages that is right, since every event names the
-- To; the few others are worked out from `events`: docs/adr/0011-a-state-made-for-reading.md.
CREATE TABLE IF NOT EXISTS message_state
(
    account_id String,
    sent_at DateTime64(3, 'UTC') DEFAULT UUIDv7ToDateTime(message_id, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    message_id UUID,

    -- What lists and dashboards filter and count by: numbers, and texts too short to be worth a pointer, since millions
    -- of them are joined whenever they are counted (docs/adr/0013-what-millions-of-messages-are-counted-by.md).
    -- The earliest decision, before it the earliest request. The axes down to `template_name`, and `request`, have the
    -- same order, so all are of one record. projections/messages/intents.py says what the bits are.
    intent SimpleAggregateFunction(max, UInt256),
    -- Behind the first 16 bytes, which are the order.
    to_key SimpleAggregateFunction(max, String),
    domain SimpleAggregateFunction(max, String),
    template_id SimpleAggregateFunction(max, String),
    template_name SimpleAggregateFunction(max, String),
    -- The keys of the CCs of all its requests: what it is found by, while `request` has those that count.
    copied_to SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    -- Which types of event there were about which address: the address's hash, and in the lowest 5 bits the number of
    -- the type (projections/messages/outcomes.py). Without an address only the type, which is the To's.
    told SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64)),
    -- what else is so: projections/messages/outcomes.py
    flags SimpleAggregateFunction(groupBitOr, UInt8),
    -- the last time that anything happened: of an event, a request, a decision or a dispatch
    heard SimpleAggregateFunction(max, UInt64),

    -- What is shown of one message.
    request SimpleAggregateFunction(max, Tuple(
        known UInt8, inverse_at UInt64, inverse_hash UInt64,
        recipient_id String, to_address String, cc Array(String), cc_keys Array(String), subject String,
        appointment_id String, reason String, detail String)) CODEC(ZSTD(1)),
    -- the smallest and the greatest hash of the contents that requests and decisions state
    first_content SimpleAggregateFunction(min, UInt64) DEFAULT 18446744073709551615,
    last_content SimpleAggregateFunction(max, UInt64),
    dispatch SimpleAggregateFunction(max, Tuple(
        known UInt8, inverse_at UInt64, inverse_hash UInt64, provider String, provider_message_id String)),
    -- the earliest provider event: known is 1 without an id of the provider's and 2 with one
    seen SimpleAggregateFunction(max, Tuple(
        known UInt8, inverse_at UInt64, inverse_hash UInt64, provider String, provider_message_id String)),
    -- `provider:id` of its events; of any three different ones two differ from a dispatch's
    provider_ids SimpleAggregateFunction(groupUniqArrayArray(2), Array(String)),
    -- the first time of an event of each type, inverse
    processed SimpleAggregateFunction(max, UInt64),
    delivered SimpleAggregateFunction(max, UInt64),
    bounced SimpleAggregateFunction(max, UInt64),
    opened SimpleAggregateFunction(max, UInt64),
    clicked SimpleAggregateFunction(max, UInt64),
    -- each delivered event by the first 8 bytes of its id, with its time, inverse; a copy that came later changes nothing
    deliveries SimpleAggregateFunction(maxMap, Map(UInt64, UInt64)),
    -- the first 8 bytes of each event_id: counts that copies don't change
    opens SimpleAggregateFunction(groupUniqArrayArray(1000), Array(UInt64)),
    machine_opens SimpleAggregateFunction(groupUniqArrayArray(1000), Array(UInt64)),
    clicks SimpleAggregateFunction(groupUniqArrayArray(1000), Array(UInt64)),
    deferrals SimpleAggregateFunction(groupUniqArrayArray(1000), Array(UInt64)),
    -- the event that says what became of the message; of its copies the one received first
    winner SimpleAggregateFunction(max, Tuple(
        rank UInt8, has_code UInt8, inverse_at UInt64, inverse_id UInt64,
        inverse_received UInt64, inverse_partition UInt32, inverse_place UInt64,
        code String, enhanced_code String, reason String, classification String, sub_status String)),
    -- each change of the subscription, with its time, inverse
    changes SimpleAggregateFunction(maxMap, Map(UInt64, Tuple(inverse_at UInt64, state String))),

    -- A row that states a value is found without reading the others; what the merged row says is asked after that.
    INDEX of_to substring(to_key, 17) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX of_cc copied_to TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX of_recipient tupleElement(request, 'recipient_id') TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX of_appointment tupleElement(request, 'appointment_id') TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
-- By weeks: what was sent in the weeks before is joined by merges for good, so that dashboards over a month join the last
-- days alone. No part is joined with one of another week, since a message's rows have one time.
PARTITION BY toMonday(sent_at)
ORDER BY (account_id, sent_at, message_id)
-- Pages read few rows of many columns: small granules in small blocks, so that little else is decompressed with them.
SETTINGS index_granularity = 512, min_compress_block_size = 16384, max_compress_block_size = 65536,
    merge_selector_base = 7;

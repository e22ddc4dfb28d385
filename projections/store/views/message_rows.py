"""What a row of `messages` is, in SQL: of which pieces, and by which rules. The view is made of this, as queries are.

In:  the tables `message_state` and `events`, unmerged as they are. Out: texts of SQL, without outside values.

The rows of a message are joined by its key, with the functions that the table's merges join them with. FINAL gives the
same, and takes three times as long for the few small columns that lists and dashboards ask for. The parts of an axis
are read of the joined value: of the rows' own values the greatest is not the part of the greatest.

A message whose events all name its To is *simple*: it is read from its state as it is. One that has an event of another
address, or from which an event was withdrawn, is worked out from `events`, by its To. Both branches give the same few
pieces, and the rules above them say what those mean. Each name costs time whenever it is analysed, so a query takes
those columns alone that it shows or asks.
"""

from collections.abc import Iterable
from typing import Final

__all__ = ["JOINS", "RULES", "of_any_state", "of_both", "of_events", "of_simple_state", "rows", "view"]

_KNOWN: Final = "(t.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'))"
"""Of an id with a later time there is no row; there are states of such from before they were refused."""

JOINS: Final = {
    **dict.fromkeys(("intent", "attributes", "request", "dispatch", "seen", "winner"), "max"),
    **dict.fromkeys(("types", "flags"), "groupBitOr"),
    **dict.fromkeys(("first_address", "first_content"), "min"),
    **dict.fromkeys(("last_address", "last_content", "heard"), "max"),
    **dict.fromkeys(("processed", "delivered", "bounced", "opened", "clicked"), "max"),
    "provider_ids": "groupUniqArrayArray(2)",
    **dict.fromkeys(("opens", "machine_opens", "clicks", "deferrals"), "groupUniqArrayArray(1000)"),
    **dict.fromkeys(("deliveries", "changes"), "maxMap"),
}
"""How each axis of the table is joined: tables/0003_message_state.sql, which a test compares."""

_STATE: Final = """
    (
        SELECT
            t.account_id AS account_id, t.sent_at AS sent_at, t.message_id AS message_id,
            {axes}
        FROM message_state AS t
        WHERE {known}{within}
        GROUP BY t.account_id, t.sent_at, t.message_id
    ) AS m
"""

_SIMPLE: Final = """((bitAnd(m.flags, 1) = 0) AND ((tupleElement(m.intent, 'to_hash') = 0) OR (m.last_address = 0)
    OR ((m.first_address = m.last_address) AND (m.last_address = tupleElement(m.intent, 'to_hash')))))"""
"""Of a joined state `m`: whether the axes that are joined over all addresses are the To's."""

RULES: Final = {
    "account_id": "account_id",
    "email_id": "message_id",
    "channel": "tupleElement(attributes, 'channel')",
    "type": "tupleElement(attributes, 'template_name')",
    "template_id": "tupleElement(attributes, 'template_id')",
    "sent_to": "tupleElement(attributes, 'recipient_kind')",
    "recipient_id": "tupleElement(request, 'recipient_id')",
    "to_address": "tupleElement(request, 'to_address')",
    "to_domain": "tupleElement(attributes, 'to_domain')",
    "cc_address": "arrayStringConcat(tupleElement(request, 'cc'), ', ')",
    "subject": "tupleElement(request, 'subject')",
    "status": """
        multiIf(
            tupleElement(intent, 'outcome') > 1,
            arrayElement(['Blocked', 'Declined', 'Not_opted_in', 'Suppressed', 'Quota_Exceeded'],
            tupleElement(intent, 'outcome') - 1),
            bitAnd(types, 224) > 0, 'Bounced',
            bitAnd(types, 16) > 0, 'Dropped',
            bitAnd(types, 256) > 0, 'Subscriptionchange',
            bitAnd(types, 1024) > 0, 'Clicked',
            bitAnd(types, 512) > 0, 'Opened',
            bitAnd(types, 6152) > 0, 'Delivered',
            bitAnd(types, 7) > 0, 'Processed',
            'Pending')""",
    "sub_status": """
        multiIf(
            tupleElement(intent, 'outcome') > 1, '',
            bitAnd(types, 240) > 0, tupleElement(winner, 5),
            bitAnd(types, 256) > 0, change,
            bitAnd(types, 7688) > 0, '',
            bitAnd(types, 4) > 0, 'sent',
            bitAnd(types, 2) > 0, 'deferred',
            bitAnd(types, 1) > 0, 'processed',
            '')""",
    "reason": """
        if(tupleElement(intent, 'outcome') > 1, tupleElement(request, 'detail'), tupleElement(winner, 3))""",
    "code": """
        if(tupleElement(intent, 'outcome') > 1, tupleElement(attributes, 'reason'), tupleElement(winner, 1))""",
    "enhanced_code": "if(tupleElement(intent, 'outcome') > 1, '', tupleElement(winner, 2))",
    "classification": "if(tupleElement(intent, 'outcome') > 1, '', tupleElement(winner, 4))",
    "date_sent": "sent_at",
    "decided_at": """
        if(tupleElement(intent, 'outcome') = 0, NULL,
            fromUnixTimestamp64Micro(4611686018427387904 - toInt64(tupleElement(intent, 'inverse_at')), 'UTC'))""",
    "dispatched_at": """
        if(tupleElement(dispatch, 'known') = 0, NULL,
            fromUnixTimestamp64Micro(4611686018427387904 - toInt64(tupleElement(dispatch, 'inverse_at')), 'UTC'))""",
    "processed_at": """
        if(firsts[1] = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64(firsts[1]), 'UTC'))""",
    "delivered_at": """
        if(firsts[2] = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64(firsts[2]), 'UTC'))""",
    "bounced_at": """
        if(firsts[3] = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64(firsts[3]), 'UTC'))""",
    "opened_at": """
        if(firsts[4] = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64(firsts[4]), 'UTC'))""",
    "clicked_at": """
        if(firsts[5] = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64(firsts[5]), 'UTC'))""",
    "opens": "least(1000, counts[1])",
    "machine_opens": "least(1000, counts[2])",
    "clicks": "least(1000, counts[3])",
    "attempts": "least(1000, counts[4])",
    "complained": "(bitAnd(types, 8192) > 0)::Bool",
    "provider": """
        if(tupleElement(dispatch, 'known') > 0, tupleElement(dispatch, 'provider'), tupleElement(seen, 1))""",
    "provider_message_id": """
        if(tupleElement(dispatch, 'known') > 0, tupleElement(dispatch, 'provider_message_id'),
            tupleElement(seen, 2))""",
    "appointment_id": "tupleElement(request, 'appointment_id')",
    "to_key": "tupleElement(request, 'to_key')",
    "cc_keys": "tupleElement(request, 'cc_keys')",
    "has_content": "(bitAnd(flags, 2) > 0)::Bool",
    "anomalies": """
        arrayFilter(anomaly -> anomaly != '', [
            if(tupleElement(contents, 1) < tupleElement(contents, 2), 'conflicting_requests', ''),
            if((tupleElement(intent, 'outcome') > 1) AND is_told, 'event_after_refusal', ''),
            if((firsts[3] > 0) AND (last_delivered > 4611686018427387904 - firsts[3]), 'delivered_after_bounce', ''),
            if((tupleElement(dispatch, 'known') > 0)
                AND (arraySum(id -> id != concat(tupleElement(dispatch, 'provider'), ':',
                tupleElement(dispatch, 'provider_message_id')), provider_ids) > 0), 'id_mismatch', '')])""",
    "last_heard_at": "if(heard = 0, NULL, fromUnixTimestamp64Micro(toInt64(heard), 'UTC'))",
}
"""Each column of `messages`, by the pieces of a branch."""

_OF_STATE: Final = """
    m.account_id AS account_id, m.sent_at AS sent_at, m.message_id AS message_id,
    m.intent AS intent, m.attributes AS attributes, m.request AS request, m.dispatch AS dispatch, m.flags AS flags,
    (m.first_content, m.last_content) AS contents, m.heard AS heard,
    m.types AS types,
    m.types > 0 AS is_told,
    (tupleElement(m.seen, 'provider'), tupleElement(m.seen, 'provider_message_id')) AS seen,
    m.provider_ids AS provider_ids,
    [m.processed, m.delivered, m.bounced, m.opened, m.clicked] AS firsts,
    if(m.delivered = 0, 0, toUInt64(4611686018427387904 - arrayMin(mapValues(m.deliveries)))) AS last_delivered,
    [length(m.opens), length(m.machine_opens), length(m.clicks), length(m.deferrals)] AS counts,
    (tupleElement(m.winner, 'code'), tupleElement(m.winner, 'enhanced_code'), tupleElement(m.winner, 'reason'),
        tupleElement(m.winner, 'classification'), tupleElement(m.winner, 'sub_status')) AS winner,
    tupleElement(arraySort((said, id) -> (tupleElement(said, 'inverse_at'), bitNot(id)), mapValues(m.changes),
        mapKeys(m.changes))[1], 'state') AS change
"""

_OF_EVENTS: Final = """
SELECT
    account_id, sent_at, message_id,
    tupleElement(facts, 1) AS intent, tupleElement(facts, 2) AS attributes, tupleElement(facts, 3) AS request,
    tupleElement(facts, 4) AS dispatch, tupleElement(facts, 5) AS flags, tupleElement(facts, 6) AS contents,
    tupleElement(facts, 7) AS heard,
    types, is_told, seen, provider_ids, arraySlice(times, 1, 5) AS firsts, times[6] AS last_delivered, counts, winner,
    change
FROM
(
    SELECT
        s.account_id AS account_id, s.sent_at AS sent_at, s.message_id AS message_id,
        any(s.facts) AS facts,
        groupBitOrIf(e.bit, (e.told AND ((e.address = '') OR s.of_any_address OR (e.address = s.to_key))) AS own)
            AS types,
        max(e.told) AS is_told,
        argMinIf((e.provider, e.provider_message_id), (e.provider_message_id = '', e.at, e.event_id), e.told)
            AS seen,
        groupUniqArrayIf(concat(e.provider, ':', e.provider_message_id), e.told AND (e.provider_message_id != ''))
            AS provider_ids,
        maxForEachIf([
            if(e.bit = 1, e.inverse_at, 0), if(e.bit = 8, e.inverse_at, 0), if(bitAnd(e.bit, 224) > 0, e.inverse_at, 0),
            if(e.bit = 512, e.inverse_at, 0), if(e.bit = 1024, e.inverse_at, 0), if(e.bit = 8, e.at, 0)], own) AS times,
        sumForEachIf([e.bit = 512, e.bit = 2048, e.bit = 1024, e.bit = 2], own) AS counts,
        argMinIf((e.code, e.enhanced_code, e.reason, e.classification, e.sub_status),
            (256 - e.bit, e.code = '', e.at, e.event_id), own AND (e.bit < 256)) AS winner,
        argMaxIf(e.classification, (e.at, e.event_id), own AND (e.bit = 256)) AS change
    FROM
    (
        SELECT
            m.account_id AS account_id, m.sent_at AS sent_at, m.message_id AS message_id,
            (m.intent, m.attributes, m.request, m.dispatch, m.flags, (m.first_content, m.last_content), m.heard)
                AS facts,
            tupleElement(m.request, 'to_key') AS to_key,
            (to_key = '') OR (tupleElement(m.attributes, 'channel') = 'sms') AS of_any_address
        FROM {state}
        WHERE NOT {simple}
    ) AS s
    LEFT JOIN
    (
        SELECT
            l.account_id AS account_id, l.sent_at AS sent_at, l.message_id AS message_id, l.event_id AS event_id,
            toString(l.provider) AS provider, l.provider_message_id AS provider_message_id, l.address AS address,
            toString(l.code) AS code, toString(l.enhanced_code) AS enhanced_code, l.reason AS reason,
            toString(l.classification) AS classification, toString(l.sub_status) AS sub_status,
            toUInt64(toUnixTimestamp64Micro(l.occurred_at)) AS at,
            transform(
                if(l.machine AND (l.type IN ('opened', 'clicked')), concat('machine_', l.type), toString(l.type)),
                ['processed', 'deferred', 'sent', 'delivered', 'dropped', 'failed', 'blocked', 'bounced',
                'subscription_changed', 'opened', 'clicked', 'machine_opened', 'machine_clicked', 'complained'],
                [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192], 16384)::UInt32 AS bit,
            toUInt64(4611686018427387904 - at) AS inverse_at,
            (l.type NOT IN ('requested', 'decided', 'dispatched')) AS told
        FROM events AS l FINAL
        WHERE (l.link != 'withdrawn'){of_these}
    ) AS e ON (s.account_id = e.account_id) AND (s.sent_at = e.sent_at) AND (s.message_id = e.message_id)
    GROUP BY s.account_id, s.sent_at, s.message_id
)
"""


def of_simple_state() -> str:
    """Return the pieces of the messages that are simple."""
    return f"SELECT {_OF_STATE} FROM {_state()} WHERE {_SIMPLE}"  # noqa: S608 - text of our own, as all here


def of_any_state() -> str:
    """Return the pieces of all, and `is_simple`: where that is 0, what requests and decisions say holds alone.

    And `may_be_silent`: where that is 0, an event of a type that has a status is about the To.
    """
    silent = (
        "NOT ((bitAnd(m.flags, 1) = 0) AND (bitAnd(m.types, 24576) = 0)"
        " AND (tupleElement(m.intent, 'to_hash') IN (m.first_address, m.last_address)))"
    )
    return f"SELECT {_SIMPLE} AS is_simple, {silent} AS may_be_silent, {_OF_STATE} FROM {_state()}"  # noqa: S608


def of_events(within: str = "") -> str:
    """Return the pieces of the messages that are not simple.

    `within` is a condition on t.account_id, t.sent_at and t.message_id. Without it a query that names no keys reads the
    events of all messages: a condition outside says nothing to the subquery that finds them.
    """
    these = ""
    if within:
        these = (
            " AND ((l.account_id, l.sent_at, l.message_id) IN (SELECT m.account_id, m.sent_at, m.message_id"  # noqa: S608
            f" FROM {_state(within)} WHERE NOT {_SIMPLE}))"
        )
    sql = _OF_EVENTS.replace("{of_these}", these).replace("{state}", _state())
    return sql.replace("{simple}", _SIMPLE)


def _state(within: str = "") -> str:
    axes = ", ".join(f"{join}(t.{axis}) AS {axis}" for axis, join in JOINS.items())
    return _STATE.format(axes=axes, known=_KNOWN, within=f" AND {within}" if within else "")


def of_both() -> str:
    """Return the pieces of all messages."""
    return f"{of_simple_state()}\nUNION ALL\n{of_events()}"


def rows(columns: Iterable[str], pieces: str, *more: str) -> str:
    """Return the query of these columns of RULES, of the messages that `pieces` are of, and other expressions."""
    named = (f"{RULES[name]} AS {name}" for name in columns)
    return f"SELECT {', '.join([*named, *more])} FROM ({pieces})"  # noqa: S608 - text of our own


def view() -> str:
    """Return the query of all columns of all messages."""
    return rows(RULES, of_both())

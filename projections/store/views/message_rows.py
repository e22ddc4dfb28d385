"""What a row of `messages` is, in SQL: of which pieces, and by which rules. The view is made of this, as queries are.

In:  the tables `message_state` and `events`, unmerged as they are. Out: texts of SQL, without outside values.

A message whose events all name its To is *simple*: it is read from its state as it is. One that has an event of another
address, or from which an event was withdrawn, is worked out from `events`, by its To. Both branches give the same few
pieces, and the rules above them say what those mean. Each name costs time whenever it is analysed or joined, so a query
is made of the columns that it shows or asks, and of the pieces and axes that these need.

The rows of a message are joined by FINAL or by GROUP BY, with the functions of the table's merges; both give the same.
FINAL is analysed faster, so it is for rows whose keys are known; for the few small columns that lists and dashboards
ask of many messages, GROUP BY takes a third of the time. The parts of an axis are read by functions, never as
`axis.part`: of the rows' own values the greatest is not the part of the greatest, and under FINAL that reads the first
row's.
"""
# ruff: noqa: S608 - all of it is text of our own

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["JOINS", "RULES", "event_rows", "rows", "simple_rows", "state_rows", "view"]

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

_KNOWN: Final = "(t.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC'))"
"""Of an id with a later time there is no row; there are states of such from before they were refused."""

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

_FACTS: Final = {
    **{axis: f"m.{axis}" for axis in ("intent", "attributes", "request", "dispatch", "flags", "heard")},
    "contents": "(m.first_content, m.last_content)",
}
"""The pieces that requests, decisions and dispatches give: alike in both branches."""

_OF_STATE: Final = _FACTS | {
    "types": "m.types",
    "is_told": "m.types > 0",
    "seen": "(tupleElement(m.seen, 'provider'), tupleElement(m.seen, 'provider_message_id'))",
    "provider_ids": "m.provider_ids",
    "firsts": "[m.processed, m.delivered, m.bounced, m.opened, m.clicked]",
    "last_delivered": "if(m.delivered = 0, 0, toUInt64(4611686018427387904 - arrayMin(mapValues(m.deliveries))))",
    "counts": "[length(m.opens), length(m.machine_opens), length(m.clicks), length(m.deferrals)]",
    "winner": """
        (tupleElement(m.winner, 'code'), tupleElement(m.winner, 'enhanced_code'), tupleElement(m.winner, 'reason'),
            tupleElement(m.winner, 'classification'), tupleElement(m.winner, 'sub_status'))""",
    "change": """
        tupleElement(arraySort((said, id) -> (tupleElement(said, 'inverse_at'), bitNot(id)), mapValues(m.changes),
            mapKeys(m.changes))[1], 'state')""",
}
"""The pieces of a message that is simple."""

_MORE: Final = {
    "is_simple": _SIMPLE,
    "may_be_silent": """
        NOT ((bitAnd(m.flags, 1) = 0) AND (bitAnd(m.types, 24576) = 0)
            AND (tupleElement(m.intent, 'to_hash') IN (m.first_address, m.last_address)))""",
    "told_types": "m.types",
    "outcome": "tupleElement(m.intent, 'outcome')",
}
"""What else a state says. `may_be_silent`: where it is 0, an event of a type that has a status is about the To."""

_OF_EVENTS: Final = {
    "types": "groupBitOrIf(e.bit, own)",
    "is_told": "max(e.told)",
    "seen": "argMinIf((e.provider, e.provider_message_id), (e.provider_message_id = '', e.at, e.event_id), e.told)",
    "provider_ids": """
        groupUniqArrayIf(concat(e.provider, ':', e.provider_message_id), e.told AND (e.provider_message_id != ''))""",
    "firsts": """
        maxForEachIf([
            if(e.bit = 1, e.inverse_at, 0), if(e.bit = 8, e.inverse_at, 0), if(bitAnd(e.bit, 224) > 0, e.inverse_at, 0),
            if(e.bit = 512, e.inverse_at, 0), if(e.bit = 1024, e.inverse_at, 0)], own)""",
    "last_delivered": "maxIf(e.at, own AND (e.bit = 8))",
    "counts": "sumForEachIf([e.bit = 512, e.bit = 2048, e.bit = 1024, e.bit = 2], own)",
    "winner": """
        argMinIf((e.code, e.enhanced_code, e.reason, e.classification, e.sub_status),
            (256 - e.bit, e.code = '', e.at, e.event_id), own AND (e.bit < 256))""",
    "change": "argMaxIf(e.classification, (e.at, e.event_id), own AND (e.bit = 256))",
}
"""The pieces of a message that is not, joined by its key; `own` is an event that is about the To, or names nobody."""

_EVENTS: Final = """
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
    WHERE (l.link != 'withdrawn')"""


def simple_rows(columns: Iterable[str], *, few: bool = False) -> str:
    """Return the query of these columns of RULES, of the messages that are simple. `few`: of keys that are known."""
    names = [*columns]
    pieces = _chosen(_OF_STATE, _words(RULES[name] for name in names))
    state = _state([*pieces.values(), _SIMPLE], few=few)
    return f"SELECT {_rules(names)} FROM (SELECT {_KEY}{_named(pieces)} FROM {state} WHERE {_SIMPLE})"


def state_rows(columns: Iterable[str], *more: str, few: bool = False) -> str:
    """Return the query of these columns of all messages, and of `more`: is_simple, may_be_silent, told_types, outcome.

    Where `is_simple` is 0, of a row only what requests and decisions say is the message's.
    """
    names = [*columns]
    pieces = _chosen(_OF_STATE, _words(RULES[name] for name in names)) | {name: _MORE[name] for name in more}
    state = _state(pieces.values(), few=few)
    rules = ", ".join([_rules(names), *more])
    return f"SELECT {rules} FROM (SELECT {_KEY}{_named(pieces)} FROM {state})"


def event_rows(columns: Iterable[str], *, within: str = "", few: bool = False) -> str:
    """Return the query of these columns of RULES, of the messages that are not simple.

    `within` is a condition on t.account_id, t.sent_at and t.message_id. Without it a query that names no keys reads the
    events of all messages: a condition outside says nothing to the subquery that finds them.
    """
    names = [*columns]
    words = _words(RULES[name] for name in names)
    facts, told = _chosen(_FACTS, words), _chosen(_OF_EVENTS, words)
    asked = facts | {
        "to_key": "tupleElement(m.request, 'to_key')",
        "of_any_address": "(to_key = '') OR (tupleElement(m.attributes, 'channel') = 'sms')",
    }
    state = _state([*asked.values(), _SIMPLE], few=few)
    these = ""
    if within:
        keys = f"SELECT m.account_id, m.sent_at, m.message_id FROM {_state([_SIMPLE], within)} WHERE NOT {_SIMPLE}"
        these = f" AND ((l.account_id, l.sent_at, l.message_id) IN ({keys}))"
    joined = {name: f"any(s.{name})" for name in facts} | {n: _OWN_WORD.sub(_OWN, sql) for n, sql in told.items()}
    return f"""
        SELECT {_rules(names)}
        FROM
        (
            SELECT
                s.account_id AS account_id, s.sent_at AS sent_at, s.message_id AS message_id{_named(joined)}
            FROM (SELECT {_KEY}{_named(asked)} FROM {state} WHERE NOT {_SIMPLE}) AS s
            LEFT JOIN
            (
                {_EVENTS}{these}
            ) AS e ON (s.account_id = e.account_id) AND (s.sent_at = e.sent_at) AND (s.message_id = e.message_id)
            GROUP BY s.account_id, s.sent_at, s.message_id
        )
    """


def rows(columns: Iterable[str], *, few: bool = False) -> str:
    """Return the query of these columns of all messages."""
    names = [*columns]
    return f"{simple_rows(names, few=few)}\nUNION ALL\n{event_rows(names, few=few)}"


def view() -> str:
    """Return the query of all columns of all messages."""
    return rows(RULES)


_KEY: Final = "m.account_id AS account_id, m.sent_at AS sent_at, m.message_id AS message_id"
_OWN: Final = "(e.told AND ((e.address = '') OR s.of_any_address OR (e.address = s.to_key)))"
_OWN_WORD: Final = re.compile(r"\bown\b")
_WORD: Final = re.compile(r"[a-z_]+")
_AXIS: Final = re.compile(r"\bm\.([a-z_]+)")


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text)}


def _chosen(pieces: Mapping[str, str], words: set[str]) -> dict[str, str]:
    return {name: sql for name, sql in pieces.items() if name in words}


def _named(pieces: Mapping[str, str]) -> str:
    return "".join(f", {sql} AS {name}" for name, sql in pieces.items())


def _rules(names: Iterable[str]) -> str:
    return ", ".join(f"{RULES[name]} AS {name}" for name in names)


def _state(pieces: Iterable[str], within: str = "", *, few: bool = False) -> str:
    """Return the joined state `m`, with the axes that the pieces are made of."""
    if few:
        return f"(SELECT * FROM message_state AS t FINAL WHERE {_KNOWN}) AS m"
    found = {axis for piece in pieces for axis in _AXIS.findall(piece)}
    axes = "".join(f", {join}(t.{axis}) AS {axis}" for axis, join in JOINS.items() if axis in found)
    where = f"{_KNOWN} AND {within}" if within else _KNOWN
    key = "t.account_id, t.sent_at, t.message_id"
    named = "t.account_id AS account_id, t.sent_at AS sent_at, t.message_id AS message_id"
    return f"(SELECT {named}{axes} FROM message_state AS t WHERE {where} GROUP BY {key}) AS m"

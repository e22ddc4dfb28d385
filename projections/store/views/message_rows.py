"""The SQL of a row of `messages`: its pieces, and the rules that combine them. Views and queries are built from it.

In:  the tables `message_state` and `events`, merged or not. Out: SQL text, without values from outside.

A message is *simple* if all its events name its To (or no address) and none was withdrawn: its row is read from its
state. The row of any other message is computed from `events`, for its To. Both branches give the same pieces, and one
set of rules turns pieces into columns. The columns that messages are counted by need less: the state contains the types
of the To's own events, so events are read only if one was withdrawn.

ClickHouse needs time to analyse each name and each subquery, and to merge each axis (a column of the state). So a query
contains only the columns that it shows or filters by, and the pieces that these need, inlined into the rules.

The rows of a message are merged with FINAL or with GROUP BY and the table's merge functions; the results are the same.
FINAL is analysed faster, so it serves rows with known keys, and columns of numbers and short texts. For other columns
of many messages GROUP BY takes a third of the time. A condition on the key alone can be applied before the merge. Under
FINAL that takes PREWHERE, since WHERE reads all columns first. Under FINAL a part of a tuple must be read by a
function, never as `axis.part`, which silently gives the value of the first row. The table has the alias `f` under
FINAL, and `t` under GROUP BY.
"""
# ruff: noqa: S608 - all of it is our own text

import re
from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Final

from projections.store.views import kept

__all__ = [
    "MERGE_FUNCTIONS",
    "RULES",
    "bounced_rows",
    "counted_rows",
    "event_rows",
    "event_rows_of",
    "fact_sql",
    "intact_rows",
    "readable_from_state",
    "simple_rows",
    "state_rows",
    "timeline_rows",
    "view",
    "withdrawn_rows",
]

MERGE_FUNCTIONS: Final = {
    **dict.fromkeys(("intent", "to_key", "domain", "template_id", "template_name"), "max"),
    **dict.fromkeys(("request", "dispatch", "seen", "winner"), "max"),
    **dict.fromkeys(("copied_to", "told"), "groupUniqArrayArray"),
    "flags": "groupBitOr",
    "first_content": "min",
    **dict.fromkeys(("last_content", "heard"), "max"),
    **dict.fromkeys(("processed", "delivered", "bounced", "opened", "clicked"), "max"),
    "provider_ids": "groupUniqArrayArray(2)",
    **dict.fromkeys(("opens", "machine_opens", "clicks", "deferrals"), "groupUniqArrayArray(1000)"),
    **dict.fromkeys(("deliveries", "changes"), "maxMap"),
}
"""The merge function of each axis, the same as in tables/0003_message_state.sql; a test compares them."""

_KNOWN: Final = f"((t.sent_at < toDateTime64('2200-01-01 00:00:00', 3, 'UTC')) AND (t.sent_at >= {kept.SINCE}))"
"""Whether a message is shown. Ids with a later time are refused, and messages with an earlier one have expired; the
tables may have states of both."""

_TO_HASH: Final = "toUInt64(bitShiftRight({intent}, 16))"
_IS_OWN: Final = "((bitShiftRight(x, 5) = 0) OR (bitShiftRight(x, 5) = {to_hash}) OR ({to_hash} = 0))"
"""Whether an element of `told` (address hash and event type) is about the To, or about no address."""

_INTACT: Final = "(bitAnd({flags}, 1) = 0)"
"""Whether no event was withdrawn from a message; else its row is computed from its events."""
_SIMPLE: Final = f"({_INTACT} AND NOT arrayExists(x -> NOT {_IS_OWN}, {{told}}))"
"""Whether the axes, which are merged over all addresses, are valid for the To."""

_STATE_FLAGS: Final = {"is_simple": _SIMPLE, "is_intact": _INTACT}
"""Further columns that can be read from a state."""

RULES: Final = {
    "account_id": "{account_id}",
    "email_id": "{message_id}",
    "channel": "{channel}",
    "type": "{template_name}",
    "template_id": "{template_id}",
    "sent_to": "{recipient_kind}",
    "recipient_id": "{recipient_id}",
    "to_address": "{to_address}",
    "to_domain": "{to_domain}",
    "cc_address": "arrayStringConcat({cc}, ', ')",
    "subject": "{subject}",
    "status": """
        multiIf(
            {outcome} > 1,
            arrayElement(['Blocked', 'Declined', 'Not_opted_in', 'Suppressed', 'Quota_Exceeded'],
            {outcome} - 1),
            arrayElement(['Pending', 'Pending', 'Processed', 'Processed', 'Processed', 'Delivered', 'Delivered',
            'Delivered', 'Opened', 'Clicked', 'Subscriptionchange', 'Dropped', 'Bounced', 'Bounced', 'Bounced'],
            arrayMax({own_types}) + 1))""",
    "sub_status": """
        multiIf(
            {outcome} > 1, '',
            arrayMax({own_types}) > 10, {winner_sub_status},
            arrayMax({own_types}) = 10, {change},
            arrayElement(['', 'processed', 'deferred', 'sent', '', '', '', '', ''], arrayMax({own_types})))""",
    "reason": "if({outcome} > 1, {outcome_detail}, {winner_reason})",
    "code": "if({outcome} > 1, {outcome_reason}, {winner_code})",
    "enhanced_code": "if({outcome} > 1, '', {winner_enhanced_code})",
    "classification": "if({outcome} > 1, '', {winner_classification})",
    "date_sent": "{sent_at}",
    "decided_at": "if({outcome} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({decided}), 'UTC'))",
    "dispatched_at": """
        if({dispatch_known} = 0, NULL,
            fromUnixTimestamp64Micro(4611686018427387904 - toInt64({dispatched}), 'UTC'))""",
    "processed_at": """
        if({processed} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({processed}), 'UTC'))""",
    "delivered_at": """
        if({delivered} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({delivered}), 'UTC'))""",
    "bounced_at": "if({bounced} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({bounced}), 'UTC'))",
    "opened_at": "if({opened} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({opened}), 'UTC'))",
    "clicked_at": "if({clicked} = 0, NULL, fromUnixTimestamp64Micro(4611686018427387904 - toInt64({clicked}), 'UTC'))",
    "opens": "least(1000, {opens})",
    "machine_opens": "least(1000, {machine_opens})",
    "clicks": "least(1000, {clicks})",
    "attempts": "least(1000, {deferrals})",
    "complained": "has({own_types}, 1)::Bool",
    "provider": "if({dispatch_known} > 0, {dispatch_provider}, {seen_provider})",
    "provider_message_id": "if({dispatch_known} > 0, {dispatch_id}, {seen_id})",
    "appointment_id": "{appointment_id}",
    "to_key": "{to_key}",
    "cc_keys": "{cc_keys}",
    "has_content": "(bitAnd({flags}, 2) > 0)::Bool",
    "anomalies": """
        arrayFilter(anomaly -> anomaly != '', [
            if({first_content} < {last_content}, 'conflicting_requests', ''),
            if(({outcome} > 1) AND {has_events}, 'event_after_refusal', ''),
            if(({bounced} > 0) AND ({last_delivered} > 4611686018427387904 - {bounced}), 'delivered_after_bounce', ''),
            if(({dispatch_known} > 0)
                AND (arraySum(id -> id != concat({dispatch_provider}, ':',
                {dispatch_id}), {provider_ids}) > 0), 'id_mismatch', '')])""",
    "last_heard_at": "if({heard} = 0, NULL, fromUnixTimestamp64Micro(toInt64({heard}), 'UTC'))",
}
"""The SQL of each column of `messages`, from pieces."""

MORE_RULES: Final = {
    "to_hash": "{to_hash}",
    "was_delivered": "has({own_types}, 7)",
    "was_opened": "has({own_types}, 8)",
    "was_clicked": "has({own_types}, 9)",
    "was_touched": "hasAny({own_types}, [6, 8, 9])",
}
"""Further columns for counts. `was_touched`: opened by a person or a machine, or clicked by a person."""

_PARTS: Final = {
    "outcome_reason": ("request", "reason"),
    "recipient_id": ("request", "recipient_id"),
    "to_address": ("request", "to_address"),
    "cc": ("request", "cc"),
    "cc_keys": ("request", "cc_keys"),
    "subject": ("request", "subject"),
    "appointment_id": ("request", "appointment_id"),
    "outcome_detail": ("request", "detail"),
    "dispatch_known": ("dispatch", "known"),
    "dispatched": ("dispatch", "inverse_at"),
    "dispatch_provider": ("dispatch", "provider"),
    "dispatch_id": ("dispatch", "provider_message_id"),
    "seen_provider": ("seen", "provider"),
    "seen_id": ("seen", "provider_message_id"),
}
"""The pieces that are elements of a tuple: piece to (axis, element).

Tuples are ordered by known, inverse_at and inverse_hash. Under GROUP BY these three are packed into one number, which
is compared many times faster than a tuple, and an element is read without the others.
"""

_FACTS: Final = {
    **{
        name: f"{{{name}}}"
        for name in (*_PARTS, "flags", "heard", "first_content", "last_content")
        if not name.startswith("seen")
    },
    "outcome": "bitAnd(toUInt16({intent}), 15)",
    "channel": "arrayElement(['', 'email', 'sms'], bitAnd(bitShiftRight(toUInt16({intent}), 4), 255) + 1)",
    "recipient_kind": "arrayElement(['', 'client', 'staff'], bitShiftRight(toUInt16({intent}), 12) + 1)",
    "to_hash": "{to_hash}",
    "decided": "bitAnd(toUInt64(bitShiftRight({intent}, 144)), 9223372036854775807)",
    "to_key": "substring({to_key}, 17)",
    "to_domain": "substring({domain}, 17)",
    "template_id": "substring({template_id}, 17)",
    "template_name": "substring({template_name}, 17)",
}
"""The pieces that come from requests, decisions and dispatches; the same in both branches."""

_STATE_PIECES: Final = {
    **_FACTS,
    **{name: f"{{{name}}}" for name in ("processed", "delivered", "bounced", "opened", "clicked")},
    "own_types": f"arrayMap(x -> if({_IS_OWN}, bitAnd(x, 31), 0), {{told}})",
    "has_events": "notEmpty({told})",
    "seen_provider": "{seen_provider}",
    "seen_id": "{seen_id}",
    "provider_ids": "{provider_ids}",
    "last_delivered": "if({delivered} = 0, 0, toUInt64(4611686018427387904 - arrayMin(mapValues({deliveries}))))",
    **{name: f"length({{{name}}})" for name in ("opens", "machine_opens", "clicks", "deferrals")},
    **{
        f"winner_{part}": f"tupleElement({{winner}}, '{part}')"
        for part in ("code", "enhanced_code", "reason", "classification", "sub_status")
    },
    "change": """
        tupleElement(arraySort((entry, id) -> (tupleElement(entry, 'inverse_at'), bitNot(id)), mapValues({changes}),
            mapKeys({changes}))[1], 'state')""",
}
"""The pieces of a simple message, from its state."""
_VALID_FOR_INTACT: Final = {*_FACTS, "own_types", "has_events", "seen_provider", "seen_id", "provider_ids"}
"""Those pieces of the state that are valid for every message from which no event was withdrawn."""

_EVENT_PIECES: Final = {
    "own_types": "{own_types}",
    "has_events": "{has_events}",
    "provider_ids": "{provider_ids}",
    "last_delivered": "{last_delivered}",
    "change": "{change}",
    **{
        name: f"{{firsts}}[{n}]" for n, name in enumerate(("processed", "delivered", "bounced", "opened", "clicked"), 1)
    },
    **{name: f"{{counts}}[{n}]" for n, name in enumerate(("opens", "machine_opens", "clicks", "deferrals"), 1)},
    "seen_provider": "tupleElement({seen}, 1)",
    "seen_id": "tupleElement({seen}, 2)",
    **{
        f"winner_{part}": f"tupleElement({{winner}}, {n})"
        for n, part in enumerate(("code", "enhanced_code", "reason", "classification", "sub_status"), 1)
    },
}
"""The pieces of a message that is not simple, from aggregates of its events."""

_EVENT_AGGREGATES: Final = {
    "own_types": "groupUniqArrayIf(e.type_number, {own})",
    "has_events": "max(e.from_provider)",
    "seen": """
        argMinIf((e.provider, e.provider_message_id), (e.provider_message_id = '', e.at, e.event_id),
            e.from_provider)""",
    "provider_ids": """
        groupUniqArrayIf(concat(e.provider, ':', e.provider_message_id),
            e.from_provider AND (e.provider_message_id != ''))""",
    "firsts": """
        maxForEachIf([
            if(e.type_number = 2, e.inverse_at, 0), if(e.type_number = 7, e.inverse_at, 0),
            if(e.type_number > 11, e.inverse_at, 0),
            if(e.type_number = 8, e.inverse_at, 0), if(e.type_number = 9, e.inverse_at, 0)], {own})""",
    "last_delivered": "maxIf(e.at, {own} AND (e.type_number = 7))",
    "counts": """
        sumForEachIf([e.type_number = 8, e.type_number = 6, e.type_number = 9, e.type_number = 3], {own})""",
    "winner": """
        argMinIf((e.code, e.enhanced_code, e.reason, e.classification, e.sub_status),
            (255 - e.type_number, e.code = '', e.at, e.event_id),
            {own} AND (e.type_number IN (2, 3, 4, 7, 11, 12, 13, 14)))""",
    "change": "argMaxIf(e.classification, (e.at, e.event_id), {own} AND (e.type_number = 10))",
}
"""The aggregates over the events of a message."""

_OWN: Final = "(e.from_provider AND ((e.address = '') OR s.of_any_address OR (e.address = s.own_key)))"
"""Whether an event is about the To, or names no address."""

_EVENTS: Final = """
    SELECT
        l.account_id AS account_id, l.sent_at AS sent_at, l.message_id AS message_id, l.event_id AS event_id,
        toString(l.provider) AS provider, l.provider_message_id AS provider_message_id, l.address AS address,
        toString(l.code) AS code, toString(l.enhanced_code) AS enhanced_code, l.reason AS reason,
        toString(l.classification) AS classification, toString(l.sub_status) AS sub_status,
        toUInt64(toUnixTimestamp64Micro(l.occurred_at)) AS at,
        transform(
            if(l.machine AND (l.type IN ('opened', 'clicked')), concat('machine_', l.type), toString(l.type)),
            ['complained', 'processed', 'deferred', 'sent', 'machine_clicked', 'machine_opened', 'delivered', 'opened',
            'clicked', 'subscription_changed', 'dropped', 'failed', 'blocked', 'bounced'],
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 0)::UInt8 AS type_number,
        toUInt64(4611686018427387904 - at) AS inverse_at,
        (l.type NOT IN ('requested', 'decided', 'dispatched')) AS from_provider
    FROM events AS l FINAL{prewhere}
    WHERE (l.link != 'withdrawn')"""


_EVENT_COLUMNS: Final = """
    e.account_id AS account_id,
    e.message_id AS email_id,
    lower(hex(e.event_id)) AS event_id,
    e.type AS type,
    e.provider AS provider,
    e.occurred_at AS occurred_at,
    e.received_at AS received_at,
    e.address AS address,
    ((e.address != '') AND (s.to_hash != 0) AND (e.address != s.to_key))::Bool AS cc,
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
"""

_KEYS: Final = ("account_id", "sent_at", "message_id")
_CHEAP_UNDER_FINAL: Final = frozenset(
    {*_KEYS, "intent", "to_hash", "to_key", "domain", "template_id", "template_name", "told", "flags", "heard"}
)
"""Axes of numbers and short texts: FINAL merges millions of them faster than GROUP BY does."""
_TABLE: Final = re.compile(r"\bt\.")
_AXES_THEMSELVES: Final = {name: f"{{{name}}}" for name in ("to_hash", "told")}
"""Names in `_STATE_FLAGS` that stand for the axes themselves."""
_ALL_RULES: Final = RULES | MORE_RULES


def simple_rows(columns: Iterable[str], *, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns of the simple messages.

    `within` is a condition on t.account_id, t.sent_at and t.message_id. ClickHouse also pushes down a condition from an
    outer query, but applies it only after all columns are read. `by_key`: merge with FINAL, which is faster for nearly
    all columns.
    """
    return _of_state(_rules(columns), within, where=_SIMPLE, by_key=by_key)


def intact_rows(columns: Iterable[str], *, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns, all `readable_from_state`, of the messages without withdrawn events.

    `by_key`: merge with FINAL, whatever the columns are.
    """
    return _of_state(_rules(columns), within, where=_INTACT, by_key=by_key)


def withdrawn_rows(columns: Iterable[str], *, within: str = "") -> str:
    """Return the query of these columns of the messages with withdrawn events; they are few, and only they are read."""
    condition = f"({_TABLE.sub('w.', within)}) AND " if within else ""
    keys = (
        "SELECT w.account_id, w.sent_at, w.message_id FROM message_state AS w"
        f" WHERE {condition}(bitAnd(w.flags, 1) = 1)"
    )
    return _event_rows(
        columns,
        f"(t.account_id, t.sent_at, t.message_id) IN ({keys})",
        f"(l.account_id, l.sent_at, l.message_id) IN ({keys})",
    )


def readable_from_state(columns: Iterable[str]) -> bool:
    """Whether the state alone gives these columns, also with events of a CC, unless an event was withdrawn."""
    return _VALID_FOR_INTACT.issuperset({*_words(_rules(columns).values())} - {*_KEYS})


def state_rows(columns: Iterable[str], *more: str, within: str = "", by_key: bool = False) -> str:
    """Return the query of these columns of all messages, and of `more`: names from `_STATE_FLAGS`.

    `by_key`: `within` selects a few messages by key, so merge with FINAL.

    In a row with `is_intact` = 0 only the columns from requests and decisions are valid; in a row with `is_simple` = 0
    only columns that are `readable_from_state`.
    """
    return _of_state(_rules(columns) | {name: _STATE_FLAGS[name] for name in more}, within, by_key=by_key)


def event_rows(columns: Iterable[str], *, within: str = "") -> str:
    """Return the query of these columns of the messages that are not simple.

    Without `within` it reads the events of all messages: ClickHouse does not push a condition of an outer query down
    into the subquery that reads events.
    """
    of_events = ""
    if within:
        keys = _of_state({name: f"{{{name}}}" for name in _KEYS}, within, where=f"NOT {_SIMPLE}")
        of_events = f"(l.account_id, l.sent_at, l.message_id) IN ({keys})"
    return _event_rows(columns, within, of_events)


def event_rows_of(columns: Iterable[str], *, within: str) -> str:
    """Return the same query for a few messages, whose keys `within` selects."""
    return _event_rows(columns, within, _TABLE.sub("l.", within), by_key=True)


def _event_rows(columns: Iterable[str], within: str, of_events: str, *, by_key: bool = False) -> str:
    """Return the query of messages that are not simple; `of_events` is the condition on the events to read."""
    rules = _rules(columns)
    words = _words(rules.values())
    facts = {name: sql for name, sql in _FACTS.items() if name in words}
    pieces_of_events = {name: sql for name, sql in _EVENT_PIECES.items() if name in words}
    aggregates = {name: _EVENT_AGGREGATES[name] for name in _words(pieces_of_events.values())}
    selected = {
        **{name: f"{{{name}}}" for name in _KEYS},
        **facts,
        "own_key": _FACTS["to_key"],
        "of_any_address": "{to_hash} = 0",
    }
    prewhere = f" PREWHERE {of_events}" if of_events else ""
    pieces = {name: f"j.{name}" for name in (*_KEYS, *facts)} | {
        name: sql.format_map({one: f"j.{one}" for one in aggregates}) for name, sql in pieces_of_events.items()
    }
    merged_columns = {name: f"s.{name}" for name in _KEYS} | {name: f"any(s.{name})" for name in facts}
    merged_columns |= {name: sql.replace("{own}", _OWN) for name, sql in aggregates.items()}
    return f"""
        SELECT {_named(rules, pieces)}
        FROM
        (
            SELECT {", ".join(f"{sql} AS {name}" for name, sql in merged_columns.items())}
            FROM ({_of_state(selected, within, where=f"NOT {_SIMPLE}", are_pieces=True, by_key=by_key)}) AS s
            LEFT JOIN ({_EVENTS.replace("{prewhere}", prewhere)}) AS e
            ON (s.account_id = e.account_id) AND (s.sent_at = e.sent_at) AND (s.message_id = e.message_id)
            GROUP BY s.account_id, s.sent_at, s.message_id
        ) AS j
    """


def counted_rows() -> str:
    """Return the query of the columns that messages are counted by, for all messages. They need no events."""
    columns = [name for name in RULES if name in _COUNTED_BY]
    # With FINAL a condition on `date_sent` can use the primary key, and columns that are not selected are not merged.
    return f"{intact_rows(columns, by_key=True)}\nUNION ALL\n{withdrawn_rows(columns)}"


def bounced_rows() -> str:
    """Return the query of the Bounced messages, with the columns that show which bounces are the To's."""
    columns = ("account_id", "email_id", "date_sent", "channel", "to_domain", "to_key", "to_hash", "status")
    # Applied before the merge, though it is no key condition: most messages never bounced.
    bounced = "t.message_id IN (SELECT message_id FROM bounces)"
    both = f"{intact_rows(columns, within=bounced, by_key=True)}\nUNION ALL\n{withdrawn_rows(columns, within=bounced)}"
    return f"SELECT * FROM ({both}) WHERE status = 'Bounced'"


_COUNTED_BY: Final = (
    *("account_id", "email_id", "date_sent", "channel", "template_id", "type", "sent_to", "to_domain"),
    *("provider", "status", "complained"),
)


def view() -> str:
    """Return the query of all columns of all messages."""
    return f"{simple_rows(RULES)}\nUNION ALL\n{event_rows(RULES)}"


def timeline_rows(within: str = "") -> str:
    """Return the query of all columns of `message_events`; `within` is a condition on the key columns of `t`.

    ClickHouse does not push a condition of an outer query down into the joined state.
    """
    by_event = _TABLE.sub("e.", f" PREWHERE {within}") if within else ""
    by_state = _TABLE.sub("f.", f" PREWHERE {within}") if within else ""
    return f"""
        SELECT
            {_EVENT_COLUMNS}
        FROM (SELECT * FROM events AS e FINAL{by_event}) AS e
        LEFT ANY JOIN
        (
            SELECT
                f.account_id AS account_id, f.sent_at AS sent_at, f.message_id AS message_id,
                substring(f.to_key, 17) AS to_key,
                toUInt64(bitShiftRight(f.intent, 16)) AS to_hash
            FROM message_state AS f FINAL{by_state}
        ) AS s ON (e.account_id = s.account_id) AND (e.sent_at = s.sent_at) AND (e.message_id = s.message_id)
        WHERE (e.link != 'withdrawn') AND {_TABLE.sub("e.", _KNOWN)}
    """


def _rules(columns: Iterable[str]) -> dict[str, str]:
    return {name: _ALL_RULES[name] for name in columns}


def _words(texts: Iterable[str]) -> list[str]:
    """Return the distinct placeholder names in the texts."""
    return [*dict.fromkeys(name for text in texts for _, name, _, _ in Formatter().parse(text) if name)]


def _named(texts: Mapping[str, str], meanings: Mapping[str, str]) -> str:
    return ", ".join(f"{text.format_map(meanings)} AS {name}" for name, text in texts.items())


def _of_state(
    texts: Mapping[str, str], within: str, *, where: str = "", by_key: bool = False, are_pieces: bool = False
) -> str:
    """Return the query of SQL texts over pieces, or over axes and their parts (`are_pieces`), as `where` is."""
    key = {name: f"{{{name}}}" for name in _KEYS}
    pieces = _STATE_PIECES | key | _AXES_THEMSELVES
    by_axes = texts if are_pieces else {name: text.format_map(pieces) for name, text in texts.items()}
    used = _words([*by_axes.values(), where])
    conditions = [_KNOWN, *([within] if within else [])]
    if by_key or _CHEAP_UNDER_FINAL.issuperset(used):
        meanings = {name: f"f.{name}" for name in used} | {
            name: f"tupleElement(f.{axis}, '{part}')" for name, (axis, part) in _PARTS.items()
        }
        meanings["to_hash"] = _TO_HASH.format(intent="f.intent")
        first = " AND ".join(f"({_TABLE.sub('f.', condition)})" for condition in conditions)
        of_table = f"SELECT {_named(by_axes, meanings)} FROM message_state AS f FINAL"
        if not within:  # then ClickHouse pushes down a condition of an outer query
            return f"{of_table} WHERE {first}" + (f" AND {where.format_map(meanings)}" if where else "")
        return f"{of_table} PREWHERE {first}" + (f" WHERE {where.format_map(meanings)}" if where else "")
    merged_columns = {name: merged(name) for name in dict.fromkeys([*_KEYS, *used])}
    if within:
        # Group by an expression: with the plain column ClickHouse merges each week in one thread, and often all wanted
        # rows are in one week (setting allow_aggregate_partitions_independently). Without `within` the plain column is
        # needed, so that a condition of an outer query can be pushed down.
        merged_columns["sent_at"] = "toDateTime64(t.sent_at, 3, 'UTC')"
    grouped = (
        f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in merged_columns.items())} FROM message_state AS t"
        f" WHERE {' AND '.join(f'({condition})' for condition in conditions)}"
        f" GROUP BY {', '.join(merged_columns[name] for name in _KEYS)}"
    )
    meanings = {name: f"m.{name}" for name in merged_columns}
    condition = f" WHERE {where.format_map(meanings)}" if where else ""
    return f"SELECT {_named(by_axes, meanings)} FROM ({grouped}) AS m{condition}"


def fact_sql(name: str) -> str:
    """Return the SQL of a piece of the request or decision (`channel`, `to_key`, …) for a query that groups `t`."""
    return _FACTS[name].format_map({axis: merged(axis) for axis in _words([_FACTS[name]])})


def merged(name: str) -> str:
    """Return the SQL that merges an axis, or a part of one, in a query that groups `t`."""
    if name in _KEYS:
        return f"t.{name}"
    if name == "to_hash":  # computed here, because a lambda copies each outer value for every element
        return _TO_HASH.format(intent="max(t.intent)")
    if name not in _PARTS:
        return f"{MERGE_FUNCTIONS[name]}(t.{name})"
    axis, part = _PARTS[name]
    order = (
        f"bitShiftLeft(toUInt256(t.{axis}.known), 128) + bitShiftLeft(toUInt256(t.{axis}.inverse_at), 64)"
        f" + t.{axis}.inverse_hash"
    )
    return f"argMax(t.{axis}.{part}, {order})"

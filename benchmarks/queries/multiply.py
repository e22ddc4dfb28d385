"""SQL that makes a log of any size from templates, in the server.

In:  tables of template rows, and which copies of them are wanted.
Out: `INSERT INTO … SELECT …` for each table. Copy c of template t is message n = c * templates + t of the log.

Everything that is a message's own follows from n alone, so the rows that different statements make of it agree: its
account, its Date Sent, its message_id, a mask that is laid over the hashes of its events, and the end of the
provider's id. Copies follow each other in time, as messages do: copy c fills the c-th of equal parts of the period.
"""

from dataclasses import dataclass
from typing import Final

from benchmarks.queries.template import SENT_MS

__all__ = ["ACCOUNTS", "TEMPLATES", "Copies", "account_number", "dispatches_of", "events_of", "state_of"]

ACCOUNTS: Final = 500
TEMPLATES: Final = "queries_templates"
"""The database of the templates."""

_FLATTENING: Final = 1.5
_STEEPNESS: Final = 1.2
"""The k-th account has about 1 / (k + flattening) ^ steepness of the messages: the first 9 %, the last 0.02 %."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Which copies of the templates, and of what log they are."""

    first: int
    behind: int
    templates: int
    messages: int
    """Of the whole log: the last copy may be a part of one."""
    from_ms: int
    copy_ms: float
    """The period that one copy of the templates fills."""


_POWER: Final = 1 - _STEEPNESS
_FIRST: Final = (1 + _FLATTENING) ** _POWER
_LAST: Final = (ACCOUNTS + 1 + _FLATTENING) ** _POWER
_STRIDE: Final = 263
"""An account's number says nothing of its size: this and `ACCOUNTS` have no common divisor."""


def account_number(u: float) -> int:
    """Return the number in an account's id, by a number from 0 to 1."""
    place = int((_FIRST + u * (_LAST - _FIRST)) ** (1 / _POWER) - _FLATTENING)
    return min(ACCOUNTS, place) * _STRIDE % ACCOUNTS


def _account_of(u: str) -> str:
    """The SQL of an account's id: `account_number` in the server."""
    place = f"toUInt16(pow({_FIRST!r} + ({u}) * {_LAST - _FIRST!r}, {1 / _POWER!r}) - {_FLATTENING})"
    return f"concat('acct-', leftPad(toString(least({ACCOUNTS}, {place}) * {_STRIDE} % {ACCOUNTS}), 3, '0'))"


def state_of(copies: Copies, into: str, source: str) -> str:
    """Return the statement that copies rows of a table like `message_state`."""
    return _insert(copies, into, source, _STATE)


def events_of(copies: Copies, into: str) -> str:
    """Return the statement that copies rows of `events`."""
    return _insert(copies, into, f"{TEMPLATES}.events", _EVENTS)


def dispatches_of(copies: Copies, into: str) -> str:
    """Return the statement that copies rows of `dispatches`."""
    return _insert(copies, into, f"{TEMPLATES}.dispatches", _DISPATCHES)


def _insert(copies: Copies, into: str, source: str, columns: dict[str, str]) -> str:
    return (
        f"INSERT INTO {into} ({', '.join(f'`{name}`' for name in columns)})"
        f" WITH toUInt64(toUInt128(t.message_id) % 4294967296) AS number, c * {copies.templates} + number AS n,"
        f" {_of_number(copies)}, {_OF_MESSAGE}"
        f" SELECT {', '.join(columns.values())} FROM {source} AS t"
        f" CROSS JOIN (SELECT arrayJoin(range(toUInt64({copies.first}), toUInt64({copies.behind}))) AS c) AS copies"
        f" WHERE n < {copies.messages}"
    )


def _of_number(copies: Copies) -> str:
    """What follows from `n`, the number of a message, and `c`, the copy that it is in."""
    return (
        f"{_account_of('cityHash64(n, 1) / 18446744073709551616.')} AS new_account,"
        f" toUInt64({copies.from_ms} + {copies.copy_ms!r} * (c + cityHash64(n, 2) % 1000003 / 1000003.)) AS sent_ms"
    )


_OF_MESSAGE: Final = (
    "cityHash64(n, 3) AS mask, cityHash64(n, 4) AS chance,"
    f" toUInt64((sent_ms - {SENT_MS}) * 1000) AS later,"
    # A UUID is its two halves, the upper one first; reinterpret takes the lower bytes first.
    " reinterpret(bitOr("
    "toUInt128(bitOr(bitShiftLeft(sent_ms, 16), bitOr(toUInt64(28672), bitAnd(chance, 4095)))),"
    " bitShiftLeft(toUInt128(bitOr(bitShiftLeft(toUInt64(1), 63), bitShiftRight(mask, 2))), 64)), 'UUID') AS new_id,"
    " leftPad(lower(hex(n)), 12, '0') AS id_end,"
    " concat('a', leftPad(toString(number), 8, '0')) AS appointment, concat(appointment, '-', toString(c)) AS of_copy"
)


def _later(time: str) -> str:
    """An inverse time; 0 is none."""
    return f"if({time} = 0, 0, toUInt64({time} - later))"


def _masked(hashed: str) -> str:
    return f"bitXor({hashed}, mask)"


def _of_provider(provider_id: str) -> str:
    return f"if({provider_id} = '', '', concat(substring({provider_id}, 1, length({provider_id}) - 12), id_end))"


def _fact(axis: str, *rest: str) -> str:
    """A tuple that begins with (known, inverse time, inverse hash); all is zero where it is not known."""
    known, at, hashed = (f"tupleElement(t.{axis}, {place})" for place in (1, 2, 3))
    return f"tuple({known}, {_later(at)}, if({known} = 0, 0, {_masked(hashed)}), {', '.join(rest)})"


def _kept(axis: str, *names: str) -> list[str]:
    return [f"tupleElement(t.{axis}, '{name}')" for name in names]


def _sent_by(axis: str) -> str:
    provider, provider_id = _kept(axis, "provider", "provider_message_id")
    return _fact(axis, provider, _of_provider(provider_id))


_SHIFTED: Final = "bitShiftLeft(toUInt256(later), 144)"
"""What an inverse time is less by, where it stands in the number `intent` (projections/messages/intents.py)."""


def _ordered_text(text: str) -> str:
    """A text behind its order: the inverse time, whose highest bit says what it is of, and the hash."""
    halves = [f"reinterpretAsUInt64(reverse(substring({text}, {place}, 8)))" for place in (1, 9)]
    order = (f"{halves[0]} - toUInt64(later)", _masked(halves[1]))
    as_text = ", ".join(f"unhex(leftPad(hex({half}), 16, '0'))" for half in order)
    return f"if({text} = '', '', concat({as_text}, substring({text}, 17)))"


_NOTHING: Final = "18446744073709551615"
_MASKED_IDS: Final = ("opens", "machine_opens", "clicks", "deferrals")
_TIMES: Final = ("processed", "delivered", "bounced", "opened", "clicked")

_STATE: Final = {
    "account_id": "new_account",
    "message_id": "new_id",
    "intent": f"if(t.intent = 0, t.intent, bitXor(t.intent - {_SHIFTED}, bitShiftLeft(toUInt256(mask), 80)))",
    **{name: _ordered_text(f"t.{name}") for name in ("to_key", "domain", "template_id", "template_name")},
    "copied_to": "t.copied_to",
    "told": "t.told",
    "flags": "t.flags",
    "heard": "if(t.heard = 0, 0, t.heard + later)",
    "request": _fact(
        "request",
        *_kept("request", "recipient_id", "to_address", "cc", "cc_keys", "subject"),
        "if(tupleElement(t.request, 'appointment_id') = '', '', of_copy)",
        *_kept("request", "reason", "detail"),
    ),
    "first_content": f"if(t.first_content = {_NOTHING}, t.first_content, {_masked('t.first_content')})",
    "last_content": f"if(t.last_content = 0, 0, {_masked('t.last_content')})",
    "dispatch": _sent_by("dispatch"),
    "seen": _sent_by("seen"),
    "provider_ids": f"arrayMap(id -> {_of_provider('id')}, t.provider_ids)",
    **{name: _later(f"t.{name}") for name in _TIMES},
    "deliveries": f"mapApply((id, at) -> ({_masked('id')}, toUInt64(at - later)), t.deliveries)",
    **{name: f"arrayMap(id -> {_masked('id')}, t.{name})" for name in _MASKED_IDS},
    "winner": "tuple("
    + ", ".join(
        [
            *_kept("winner", "rank", "has_code"),
            _later("tupleElement(t.winner, 'inverse_at')"),
            "if(tupleElement(t.winner, 'rank') = 0, 0, bitXor(tupleElement(t.winner, 'inverse_id'), mask))",
            _later("tupleElement(t.winner, 'inverse_received')"),
            *_kept("winner", "inverse_partition", "inverse_place"),
            *_kept("winner", "code", "enhanced_code", "reason", "classification", "sub_status"),
        ]
    )
    + ")",
    "changes": f"mapApply((id, said) -> ({_masked('id')}, (toUInt64(tupleElement(said, 'inverse_at') - later),"
    " tupleElement(said, 'state'))), t.changes)",
}
"""The columns of `message_state`, as a copy has them."""

_UNCHANGED: Final = (
    *("type", "provider", "provider_event_id", "address", "code", "enhanced_code", "reason", "classification"),
    *("fault", "machine", "url", "user_agent", "ip", "attempt", "group", "topic", "partition", "offset", "position"),
    *("link", "sub_status"),
)
_EVENTS: Final = {
    "account_id": "new_account",
    "message_id": "new_id",
    # The first 8 bytes are what the state knows an event by.
    "event_id": "toFixedString(concat(unhex(leftPad(hex("
    "bitXor(reinterpretAsUInt64(reverse(substring(t.event_id, 1, 8))), mask)), 16, '0')),"
    " substring(t.event_id, 9, 8)), 16)",
    "provider_message_id": _of_provider("t.provider_message_id"),
    "occurred_at": "t.occurred_at + toIntervalMicrosecond(later)",
    "received_at": "t.received_at + toIntervalMicrosecond(later)",
    "extra": "if(t.extra = '', '', replaceOne(replaceOne(t.extra, appointment, of_copy),"
    f" '{SENT_MS * 1000}', toString(sent_ms * 1000)))",
    **{name: f"t.`{name}`" for name in _UNCHANGED},
}
"""The columns of `events`, as a copy has them."""

_DISPATCHES: Final = {
    "provider": "t.provider",
    "provider_message_id": _of_provider("t.provider_message_id"),
    "account_id": "new_account",
    "message_id": "new_id",
}

"""Mistakes that raise no error: each is one that somebody has made, or nearly.

A sabotage changes the production code of this process for the length of a test. What it changes is looked up by name,
so one whose target is gone fails loudly.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any, Final

import pyarrow as pa
import pytest

from processors.ledger import matching, reading, writing
from projections.messages import columns
from projections.messages.arrow_types import INVERSE, STATE
from projections.messages.arrow_types import identity as identity_of
from projections.store import Store, migrate
from schemas.events import Event, Headers, Parsed, Place
from schemas.identity import fact_id
from schemas.providers import sendgrid

__all__ = ["ACKNOWLEDGED_FIRST", "SABOTAGES", "WITHDRAWN_STAYS"]

Patch = pytest.MonkeyPatch
Sabotage = Callable[[Patch], None]

ACKNOWLEDGED_FIRST: Final = "acknowledged before the write"
"""The one that is about the order of steps: the pipeline itself takes it."""


def _in_sql(files: str, old: str, new: str) -> Sabotage:
    """Change the text of a migration (`known`) or of a view (`views`)."""

    def apply(patch: Patch) -> None:
        honest = getattr(migrate, files)()
        assert any(old in statement for file in honest for statement in file.statements), f"nothing says {old!r}"
        false = [replace(file, statements=tuple(s.replace(old, new) for s in file.statements)) for file in honest]
        patch.setattr(migrate, files, lambda: false)

    return apply


def _to_events(change: Callable[[Event], Event | None]) -> Sabotage:
    """Change each provider's event that is read."""

    def apply(patch: Patch) -> None:
        honest = reading.read_records

        def read(*args: Any, **named: Any) -> reading.Sheet:
            sheet = honest(*args, **named)
            for name in ("events", "orphans"):
                changed = (change(event) for event in getattr(sheet, name))
                setattr(sheet, name, [event for event in changed if event is not None])
            return sheet

        patch.setattr(writing, "read_records", read)

    return apply


def _copies_are_new(patch: Patch) -> None:
    honest, number = fact_id, count()
    patch.setattr(sendgrid, "fact_id", lambda key: honest([*key, next(number)]))


def _looks_before_it_writes(patch: Patch) -> None:
    made: list[matching.Matcher] = []
    honest_init, honest_settle, honest_tables = matching.Matcher.__init__, matching.Matcher.settle, writing.tables_of

    def init(self: matching.Matcher, *args: Any, **named: Any) -> None:
        honest_init(self, *args, **named)
        made.append(self)

    def tables(sheet: reading.Sheet) -> Any:
        honest_settle(made[-1], sheet.provider_ids())
        return honest_tables(sheet)

    patch.setattr(matching.Matcher, "__init__", init)
    patch.setattr(matching.Matcher, "settle", lambda *_: 0)
    patch.setattr(writing, "tables_of", tables)


def _reads_one_frame(patch: Patch) -> None:
    honest = Store.insert
    patch.setattr(Store, "insert", lambda self, table, rows: honest(self, table, rows.slice(0, 400)))


def _identity(of: str, value: object) -> Sabotage:
    """Let the rows that know nothing of an axis state this value."""

    def apply(patch: Patch) -> None:
        honest = identity_of

        def identity(axis: str, size: int) -> Any:
            return pa.array([value] * size, STATE[axis]) if axis == of else honest(axis, size)

        patch.setattr(columns, "identity", identity)

    return apply


def _one_bad_element_costs_all(patch: Patch) -> None:
    honest = sendgrid.to_events

    def to_events(body: bytes, place: Place, headers: Headers = ()) -> Parsed:
        parsed = honest(body, place, headers)
        return Parsed([], parsed.bad) if parsed.bad else parsed

    patch.setitem(reading._ADAPTERS, "webhooks.sendgrid", to_events)


def _with(**said: Any) -> Callable[[Event], Event]:
    return lambda event: event._replace(**said)


SABOTAGES: Final[dict[str, Sabotage]] = {
    "greatest for least: the weakest delivery event gives the reason": _in_sql(
        "views", "max(t.winner)", "min(t.winner)"
    ),
    "a delivered hides a bounce": _in_sql(
        "views",
        "bitAnd(x, 31), 0), m.told)",
        "if((bitAnd(x, 31) > 11) AND arrayExists(y -> bitAnd(y, 31) = 7, m.told), 0, bitAnd(x, 31)), 0), m.told)",
    ),
    "an event undoes a refusal": _in_sql(
        "views",
        "bitAnd(toUInt16(m.intent), 15) > 1,\n            arrayElement",
        "(bitAnd(toUInt16(m.intent), 15) > 1) AND empty(m.told),\n            arrayElement",
    ),
    "a part of an axis is taken of another row": _in_sql(
        "views", "argMax(t.request.subject, ", "argMin(t.request.subject, "
    ),
    "what is matched stays an orphan, too": _in_sql("views", "WHERE o.event_id NOT IN", "WHERE 1 OR o.event_id NOT IN"),
    "of the copies the last one stays": _in_sql(
        "known", "copy UInt128 MATERIALIZED bitNot(", "copy UInt128 MATERIALIZED ("
    ),
    "copies are not recognised": _copies_are_new,
    "a CC's event is taken for the To's where the state is read as it is": _in_sql(
        "views", "AND NOT arrayExists(x -> NOT ", "AND NOT arrayExists(x -> 0 AND NOT "
    ),
    "a CC's event counts for the To's status": _in_sql(
        "views", "bitShiftRight(x, 5) = m.to_hash", "bitShiftRight(x, 5) != 0"
    ),
    "a CC counts as the To": _to_events(_with(address="")),
    "machine opens count as people's": _to_events(_with(machine=False)),
    "the arrival stands for the provider's time": _to_events(lambda e: e._replace(occurred_us=e.received_us)),
    "an unknown type is dropped": _to_events(lambda event: None if event.type == "unknown" else event),
    "one bad element costs its whole post": _one_bad_element_costs_all,
    "provider ids are not cut": lambda patch: patch.setattr(sendgrid, "sendgrid_id_key_of", lambda sg, _: sg.strip()),
    "addresses are compared as they are written": lambda patch: patch.setattr(sendgrid, "email_key", str),
    "an orphan is looked for before its dispatch is written": _looks_before_it_writes,
    "only the first frame of an insert is read": _reads_one_frame,
    "an axis without its identity": _identity("intent", (2 << 208 | INVERSE << 144).to_bytes(32, "little")),
    "a least number without its identity": _identity("first_content", 0),
    "a change of a suppression list has no row": lambda patch: patch.setattr(reading, "of_everybody", lambda _: None),
    ACKNOWLEDGED_FIRST: lambda _: None,
}
"""Each by what it does wrong."""


WITHDRAWN_STAYS: Final = _in_sql("views", "bitAnd(m.flags, 1) = 0", "m.flags >= 0")
"""A withdrawn match is read from the state as it is. Simulated traffic has none, so a test of matching shows it."""

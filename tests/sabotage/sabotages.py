"""Sabotages: mistakes that raise no error. Most of them were once made for real, or nearly.

A sabotage patches production code for the duration of a test. It finds its target by name or text, and fails if the
target no longer exists.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any, Final

import pyarrow as pa
import pytest

from processors.ledger import decode as reading
from processors.ledger import match as matching
from processors.ledger import write as writing
from projections.messages import columns
from projections.messages.arrow_types import INVERSE, STATE
from projections.messages.arrow_types import identity as identity_of
from projections.store import Store, migrate
from schemas.decoding.decoders import decoders
from schemas.decoding.ids import fact_id
from schemas.events import Event, Headers, Parsed, SourcePosition
from schemas.providers import sendgrid

__all__ = ["ACKNOWLEDGED_FIRST", "SABOTAGES", "WITHDRAWN_STAYS"]

Patch = pytest.MonkeyPatch
Sabotage = Callable[[Patch], None]

ACKNOWLEDGED_FIRST: Final = "acknowledged before the write"
"""The sabotage of the order of steps; the pipeline implements it."""


def _in_sql(files: str, old: str, new: str) -> Sabotage:
    """Change the text of a migration (`migrations`) or of a view (`views`)."""

    def apply(patch: Patch) -> None:
        original = getattr(migrate, files)()
        assert any(old in statement for file in original for statement in file.statements), (
            f"no statement contains {old!r}"
        )
        changed_files = [
            replace(file, statements=tuple(s.replace(old, new) for s in file.statements)) for file in original
        ]
        patch.setattr(migrate, files, lambda: changed_files)

    return apply


def _to_events(change: Callable[[Event], Event | None]) -> Sabotage:
    """Change each provider event that is decoded."""

    def apply(patch: Patch) -> None:
        original = reading.read_records

        def read(*args: Any, **named: Any) -> reading.DecodedBatch:
            decoded = original(*args, **named)
            for name in ("events", "orphans"):
                changed = (change(event) for event in getattr(decoded, name))
                setattr(decoded, name, [event for event in changed if event is not None])
            return decoded

        patch.setattr(writing, "read_records", read)

    return apply


def _copies_are_new(patch: Patch) -> None:
    original, number = fact_id, count()
    patch.setattr(sendgrid, "fact_id", lambda key: original([*key, next(number)]))


def _matches_before_it_writes(patch: Patch) -> None:
    made: list[matching.Matcher] = []
    original_init, original_settle, original_tables = (
        matching.Matcher.__init__,
        matching.Matcher.match_orphans,
        writing.tables_of,
    )

    def init(self: matching.Matcher, *args: Any, **named: Any) -> None:
        original_init(self, *args, **named)
        made.append(self)

    def tables(decoded: reading.DecodedBatch) -> Any:
        original_settle(made[-1], decoded.provider_ids())
        return original_tables(decoded)

    patch.setattr(matching.Matcher, "__init__", init)
    patch.setattr(matching.Matcher, "match_orphans", lambda *_: 0)
    patch.setattr(writing, "tables_of", tables)


def _inserts_only_the_first_rows(patch: Patch) -> None:
    original = Store.insert
    patch.setattr(Store, "insert", lambda self, table, rows: original(self, table, rows.slice(0, 400)))


def _identity(of: str, value: object) -> Sabotage:
    """Fill an axis that a row lacks with this value instead of the identity."""

    def apply(patch: Patch) -> None:
        original = identity_of

        def identity(axis: str, size: int) -> Any:
            return pa.array([value] * size, STATE[axis]) if axis == of else original(axis, size)

        patch.setattr(columns, "identity", identity)

    return apply


def _one_bad_element_costs_all(patch: Patch) -> None:
    original = sendgrid.to_events

    def to_events(body: bytes, source: SourcePosition, headers: Headers = ()) -> Parsed:
        parsed = original(body, source, headers)
        return Parsed([], parsed.rejections) if parsed.rejections else parsed

    patch.setattr(reading, "decoders", lambda **settings: {**decoders(**settings), "webhooks.sendgrid": to_events})


def _with(**fields: Any) -> Callable[[Event], Event]:
    return lambda event: event._replace(**fields)


SABOTAGES: Final[dict[str, Sabotage]] = {
    "min instead of max: the weakest delivery event gives the reason": _in_sql(
        "views", "max(t.winner)", "min(t.winner)"
    ),
    "a delivered event hides a bounce": _in_sql(
        "views",
        "bitAnd(x, 31), 0), m.told)",
        "if((bitAnd(x, 31) > 11) AND arrayExists(y -> bitAnd(y, 31) = 7, m.told), 0, bitAnd(x, 31)), 0), m.told)",
    ),
    "an event undoes a refusal": _in_sql(
        "views",
        "bitAnd(toUInt16(m.intent), 15) > 1,\n            arrayElement",
        "(bitAnd(toUInt16(m.intent), 15) > 1) AND empty(m.told),\n            arrayElement",
    ),
    "an element of a tuple comes from another row": _in_sql(
        "views", "argMax(t.request.subject, ", "argMin(t.request.subject, "
    ),
    "a matched event stays an orphan, too": _in_sql("views", "AND o.event_id NOT IN", "AND 1 = 1 OR o.event_id NOT IN"),
    "the last copy of an event stays instead of the first": _in_sql(
        "migrations", "copy UInt128 MATERIALIZED bitNot(", "copy UInt128 MATERIALIZED ("
    ),
    "copies of an event are not recognised": _copies_are_new,
    "a CC's event counts for the To where the state is read directly": _in_sql(
        "views", "AND NOT arrayExists(x -> NOT ", "AND NOT arrayExists(x -> 0 AND NOT "
    ),
    "a CC's event counts for the status of the To": _in_sql(
        "views", "bitShiftRight(x, 5) = m.to_hash", "bitShiftRight(x, 5) != 0"
    ),
    "a CC counts as the To": _to_events(_with(address="")),
    "machine opens count as people's": _to_events(_with(machine=False)),
    "the arrival time replaces the provider's time": _to_events(lambda e: e._replace(occurred_us=e.received_us)),
    "an event of unknown type is dropped": _to_events(lambda event: None if event.type == "unknown" else event),
    "one malformed element drops its whole post": _one_bad_element_costs_all,
    "provider ids are not cut": lambda patch: patch.setattr(sendgrid, "sendgrid_id_of_event", lambda sg, _: sg.strip()),
    "addresses are compared without normalisation": lambda patch: patch.setattr(sendgrid, "email_key", str),
    "orphans are looked up before the dispatch is written": _matches_before_it_writes,
    "only the first rows of an insert are stored": _inserts_only_the_first_rows,
    "a missing axis gets a wrong default (max)": _identity(
        "intent", (2 << 208 | INVERSE << 144).to_bytes(32, "little")
    ),
    "a missing axis gets a wrong default (min)": _identity("first_content", 0),
    "a suppression list change has no row": lambda patch: patch.setattr(reading, "platform_wide_event", lambda _: None),
    ACKNOWLEDGED_FIRST: lambda _: None,
}
"""By name: what is done wrong."""


WITHDRAWN_STAYS: Final = _in_sql("views", "bitAnd(m.flags, 1) = 0", "m.flags >= 0")
"""Read a withdrawn match from the state. Simulated traffic has none, so a test of matching is used."""

"""Rows recomputed from the event log agree with the live rows; where live rows are wrong, the difference shows."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from projections.messages.columns import events_table, state_table
from projections.messages.recomputation import COLUMNS, differences
from projections.messages.reference_fold import Known, MessageRow
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import Decision, Dispatch, Request, event_of
from schemas.events import Event
from tests.building import NOW_US, a_request, an_event, everything_known
from tests.projections.test_messages_in_clickhouse import for_message
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse


@pytest.fixture
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        yield store


def write(store: Store, known: Known) -> None:
    facts: list[Request | Decision | Dispatch] = [*known.requests, *known.decisions, *known.dispatches]
    rows = events_table([*known.events, *map(event_of, facts)])
    if rows.num_rows:
        store.insert("events", rows)
        own = rows.slice(0, len(known.events))
        store.insert("message_state", state_table(own, [*known.requests], [*known.decisions], [*known.dispatches]))


def with_true_copies(known: Known) -> Known:
    """Make copies of an event equal. If they differ, the log keeps the first, and the state the one with a code."""
    first: dict[str, Event] = {}
    for event in known.events:
        first.setdefault(event.event_id, event)
    events = [
        event._replace(**{name: getattr(first[event.event_id], name) for name in _COPIED_FIELDS})
        for event in known.events
    ]
    return replace(known, events=events)


_COPIED_FIELDS = ("code", "reason", "fault", "classification")


def found(store: Store) -> list[Any]:
    return [
        tuple(row)
        for part in range(2)
        for row in store.tuples(differences(part, 2).sql, differences(part, 2).parameters)
    ]


def test_every_column_is_compared() -> None:
    # The log has only the first copy of an event; for last_heard_at a later copy without its own time counts, too.
    not_compared = {"account_id", "email_id", "last_heard_at"}
    assert set(COLUMNS) == set(MessageRow.__dataclass_fields__) - not_compared


@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
@given(st.lists(everything_known(), min_size=8, max_size=30), st.integers(0, 2**32))
def test_live_and_recomputed_rows_agree(store: Store, knowns: list[Known], seed: int) -> None:
    started = NOW_US + random.Random(seed).randrange(10**9) * 1000
    for number, known in enumerate(knowns):
        write(store, for_message(with_true_copies(known), uuid7(started + number * 1000, uuid4().bytes)))
    assert found(store) == []


def test_a_state_that_lost_an_event_shows(store: Store) -> None:
    message_id = uuid7(NOW_US, uuid4().bytes)
    bounce = an_event("bounced", message_id=message_id, reason="no such user")
    store.insert("message_state", state_table(events_table([an_event("delivered", message_id=message_id)])))
    store.insert("events", events_table([an_event("delivered", message_id=message_id), bounce]))
    assert {(column, live, recomputed) for _, _, column, live, recomputed in found(store)} >= {
        ("status", "Delivered", "Bounced"),
        ("reason", "", "no such user"),
    }


def test_a_message_that_only_one_side_has_shows(store: Store) -> None:
    message_id = uuid7(NOW_US, uuid4().bytes)
    store.insert("message_state", state_table(events_table([]), [a_request(message_id=message_id)]))
    assert found(store) == [("acme", message_id, "account_id", "acme", "")]

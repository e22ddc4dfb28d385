"""Duplicates and out-of-order events in a group, counted once each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.ledger.disorder import Disorder, count_disorder, disorder_in
from projections.messages.columns import events_table
from schemas.events import Event
from schemas.telemetry import Telemetry
from tests.building import MESSAGE, NOW_US, an_event


def at(seconds: int, **said: str) -> Event:
    """An event so many seconds after the first."""
    return an_event(occurred_us=NOW_US + seconds * 1_000_000, **said)


A, B, C = at(0), at(1), at(2)
OTHER = {"message_id": MESSAGE[:-1] + "0"}


@pytest.mark.parametrize(
    ("events", "duplicates", "out_of_order"),
    [
        pytest.param([], 0, 0, id="nothing"),
        pytest.param([A, B, C], 0, 0, id="in order"),
        pytest.param([A, A, B, A], 2, 0, id="a copy is a copy, however late it comes"),
        pytest.param([C, A, B], 0, 2, id="two came after one that is younger than both"),
        pytest.param([A, C, B], 0, 1, id="one came late"),
        pytest.param([C, A, A], 1, 1, id="a late one and its copy"),
        pytest.param([A, an_event("opened")], 0, 0, id="of one moment"),
        pytest.param([C, at(0, **OTHER), at(1, **OTHER)], 0, 0, id="another message has an order of its own"),
        pytest.param(
            [at(2, message_id="", account_id=""), at(1, message_id="", account_id="")], 0, 1, id="orphans of one"
        ),
        pytest.param(
            [at(2, message_id="", provider_message_id=""), at(1, message_id="", provider_message_id="")],
            0,
            0,
            id="of no message",
        ),
    ],
)
def test_duplicates_and_out_of_order_events_are_counted(
    events: list[Event], duplicates: int, out_of_order: int
) -> None:
    found = disorder_in(events_table(events))
    assert (sum(found.duplicates.values()), sum(found.out_of_order.values())) == (duplicates, out_of_order)


def test_each_provider_has_its_own_counts() -> None:
    telemetry = Telemetry()
    theirs = [event._replace(provider="twilio", event_id=event.event_id[::-1], message_id="") for event in (C, A, A)]
    count_disorder(telemetry, disorder_in(events_table([A, A, *theirs])))
    sample = telemetry.registry.get_sample_value
    assert sample("sendledger_duplicates_total", {"provider": "sendgrid"}) == 1
    assert sample("sendledger_duplicates_total", {"provider": "twilio"}) == 1
    assert sample("sendledger_out_of_order_total", {"provider": "twilio"}) == 1
    assert sample("sendledger_out_of_order_total", {"provider": "sendgrid"}) is None


@given(st.lists(st.sampled_from([A, B, C, *(at(n, **OTHER) for n in range(3))]), max_size=12))
def test_duplicates_are_all_but_one_of_each_event_and_none_is_counted_twice(events: list[Event]) -> None:
    found = disorder_in(events_table(events))
    distinct = len({event.event_id for event in events})
    assert sum(found.duplicates.values()) == len(events) - distinct
    assert sum(found.out_of_order.values()) <= max(0, distinct - 1)


def test_the_counts_of_two_groups_can_be_added() -> None:
    first, second = disorder_in(events_table([A, A])), disorder_in(events_table([C, A, A]))
    assert first + second == Disorder({"sendgrid": 2}, {"sendgrid": 1})

"""Matching of events without a message id: the rules, without a store."""

from typing import Any

import orjson
import pytest

from projections.messages.matching import (
    SUPPRESSION_LIST,
    Candidate,
    ExistingCopies,
    MessageKey,
    ProviderId,
    arrival,
    assign,
    owner_of,
    platform_wide_event,
    synthetic_request,
)
from schemas.decoding.ids import ALL, message_id_or_blank, sent_at_us
from schemas.events import Event
from schemas.providers import postmark
from tests.building import NOW_US, a_source_position, an_event

ANN, BOB = MessageKey("acme", "m-ann"), MessageKey("acme", "m-bob")
PROVIDER_ID = ProviderId("sendgrid", "abc")


def an_orphan(**fields: object) -> Event:
    return an_event("bounced", account_id="", message_id="", **fields)


@pytest.mark.parametrize(
    ("candidates", "owner"),
    [
        pytest.param([], None, id="nothing was dispatched with the id"),
        pytest.param([Candidate(ANN, "")], ANN, id="the only one, though its To is unknown"),
        pytest.param([Candidate(ANN, "someone@example.com")], ANN, id="the only one, though the event is a CC's"),
        pytest.param(
            [Candidate(ANN, "ann@example.com"), Candidate(BOB, "")], ANN, id="of several, the one with the address"
        ),
        pytest.param([Candidate(ANN, ""), Candidate(BOB, "")], None, id="none of several with an unknown To"),
        pytest.param(
            [Candidate(ANN, "ann@example.com"), Candidate(BOB, "ann@example.com")],
            None,
            id="neither of two with the same To",
        ),
    ],
)
def test_the_owner_of_an_event_of_ann(candidates: list[Candidate], owner: MessageKey | None) -> None:
    assert owner_of("ann@example.com", candidates) == owner


def test_an_event_without_an_address_belongs_to_none_of_several_messages() -> None:
    assert owner_of("", [Candidate(ANN, ""), Candidate(BOB, "bob@example.com")]) is None


def test_our_own_ids_in_a_copy_take_precedence_over_a_dispatch() -> None:
    orphan = an_orphan(address="ann@example.com", received_us=NOW_US)
    here = arrival(orphan)
    existing = {orphan.event_id: ExistingCopies(named={BOB}, matched={ANN}, first_arrival={BOB: here + 1, ANN: here})}
    found = assign([orphan], {PROVIDER_ID: [Candidate(ANN, "ann@example.com")]}, existing)
    assert [(e.account_id, e.message_id) for e in found.named] == [BOB]  # this copy was received first
    assert found.matched == []
    assert [(e.account_id, e.message_id) for e in found.withdrawn] == [ANN]


def test_a_stored_copy_is_not_written_again() -> None:
    orphan = an_orphan()
    existing = {orphan.event_id: ExistingCopies(matched={ANN}, first_arrival={ANN: arrival(orphan)})}
    found = assign([orphan], {PROVIDER_ID: [Candidate(ANN, "")]}, existing)
    assert (found.named, found.matched, found.withdrawn) == ([], [], [])


@pytest.mark.parametrize("later", [{"received_us": NOW_US + 1}, {"partition": 5}, {"offset": 8}, {"position": 3}])
def test_of_copies_in_one_record_or_moment_the_first_in_the_log_is_written(later: dict[str, Any]) -> None:
    first = an_orphan(received_us=NOW_US, partition=4, offset=7, position=2)
    for orphan, written in ((first, [BOB]), (first._replace(**later), [])):
        other = first._replace(**later) if orphan is first else first
        existing = {first.event_id: ExistingCopies(named={BOB}, first_arrival={BOB: arrival(other)})}
        assert [(e.account_id, e.message_id) for e in assign([orphan], {}, existing).named] == written


def test_a_second_dispatch_withdraws_an_event_that_cannot_be_the_first_messages() -> None:
    orphan = an_orphan(address="ann@example.com")
    existing = {orphan.event_id: ExistingCopies(matched={BOB}, first_arrival={BOB: arrival(orphan)})}
    several = {PROVIDER_ID: [Candidate(ANN, ""), Candidate(BOB, "bob@example.com")]}
    assert [e.message_id for e in assign([orphan], several, existing).withdrawn] == ["m-bob"]


def test_nothing_is_withdrawn_while_the_to_is_unknown() -> None:
    orphan = an_orphan(address="ann@example.com")
    existing = {orphan.event_id: ExistingCopies(matched={BOB}, first_arrival={BOB: arrival(orphan)})}
    assert assign([orphan], {PROVIDER_ID: [Candidate(ANN, ""), Candidate(BOB, "")]}, existing).withdrawn == []


def test_a_suppression_list_change_has_a_platform_wide_row() -> None:
    change = an_event(
        "subscription_changed",
        provider="postmark",
        account_id="",
        message_id="",
        provider_message_id="",
        address="ann@example.com",
        classification="added",
        extra='{"Recipient":"Ann@Example.com"}',
    )
    row = platform_wide_event(change)
    assert row is not None
    assert row.account_id == ALL
    assert message_id_or_blank(row.message_id) == row.message_id
    assert sent_at_us(row.message_id) == change.occurred_us // 1000 * 1000
    assert platform_wide_event(change) == row, "the id follows from the event alone"
    request = synthetic_request(row)
    assert (request.template_name, request.to, request.to_key) == (
        SUPPRESSION_LIST,
        "Ann@Example.com",
        "ann@example.com",
    )


@pytest.mark.parametrize("changed_at", [None, "", "yesterday", "1999-01-01T00:00:00Z", "2199-01-01T00:00:00Z"])
def test_a_change_without_a_time_has_one_row_for_all_its_deliveries(changed_at: str | None) -> None:
    change = {"RecordType": "SubscriptionChange", "Recipient": "ann@example.com", "ServerID": 7, "MessageStream": "out"}
    change |= {"SuppressSending": True, "SuppressionReason": "HardBounce", "Origin": "Recipient"}
    body = orjson.dumps(change if changed_at is None else change | {"ChangedAt": changed_at})
    sources = [a_source_position(topic="webhooks.postmark", received_us=NOW_US + n * 3_600_000_000) for n in range(2)]
    (first,), (second,) = (postmark.to_events(body, source, ()).events for source in sources)
    assert (first.event_id, first.occurred_us) != (second.event_id, second.occurred_us)
    rows = [platform_wide_event(event) for event in (first, second)]
    assert rows[0] is not None
    assert rows[1] is not None
    assert rows[0].message_id == rows[1].message_id


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"provider_message_id": "abc"}, id="names a Postmark message"),
        pytest.param({"message_id": "m"}, id="names one of our messages"),
        pytest.param({"type": "bounced"}, id="is not a suppression list change"),
    ],
)
def test_other_events_have_no_platform_wide_row(fields: dict[str, str]) -> None:
    change = an_event("subscription_changed", account_id="", message_id="", provider_message_id="", address="a@b.c")
    assert platform_wide_event(change._replace(**fields)) is None  # type: ignore[arg-type]  # texts all of them

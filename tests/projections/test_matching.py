"""Whose an event is that names no message: the rules, without a store."""

import orjson
import pytest

from projections.messages.matching import (
    EVERYBODY,
    SUPPRESSION_LIST,
    Candidate,
    Held,
    Pair,
    ProviderId,
    assign,
    caption_of,
    of_everybody,
    owner_of,
)
from schemas.events import Event
from schemas.identity import message_id_or_blank, sent_at_us
from schemas.providers import postmark
from tests.building import NOW_US, a_place, an_event

ANN, BOB = Pair("acme", "m-ann"), Pair("acme", "m-bob")
UNDER = ProviderId("sendgrid", "abc")


def an_orphan(**said: object) -> Event:
    return an_event("bounced", account_id="", message_id="", **said)


@pytest.mark.parametrize(
    ("candidates", "owner"),
    [
        pytest.param([], None, id="nothing was dispatched under the id"),
        pytest.param([Candidate(ANN, "")], ANN, id="the only one, though nobody told its To"),
        pytest.param([Candidate(ANN, "someone@example.com")], ANN, id="the only one, though the event is a CC's"),
        pytest.param([Candidate(ANN, "ann@example.com"), Candidate(BOB, "")], ANN, id="of several the address decides"),
        pytest.param([Candidate(ANN, ""), Candidate(BOB, "")], None, id="of several without a To, none"),
        pytest.param(
            [Candidate(ANN, "ann@example.com"), Candidate(BOB, "ann@example.com")], None, id="two of one To: neither"
        ),
    ],
)
def test_whose_an_event_of_ann_is(candidates: list[Candidate], owner: Pair | None) -> None:
    assert owner_of("ann@example.com", candidates) == owner


def test_an_event_without_an_address_is_nobodys_among_several() -> None:
    assert owner_of("", [Candidate(ANN, ""), Candidate(BOB, "bob@example.com")]) is None


def test_our_own_ids_in_a_copy_go_before_a_dispatch() -> None:
    orphan = an_orphan(address="ann@example.com", received_us=NOW_US)
    held = {orphan.event_id: Held(named={BOB}, matched={ANN}, first_received_us={BOB: NOW_US + 1, ANN: NOW_US})}
    found = assign([orphan], {UNDER: [Candidate(ANN, "ann@example.com")]}, held)
    assert [(e.account_id, e.message_id) for e in found.named] == [BOB]  # this copy came first
    assert found.matched == []
    assert [(e.account_id, e.message_id) for e in found.withdrawn] == [ANN]


def test_what_is_held_already_is_not_written_again() -> None:
    orphan = an_orphan()
    held = {orphan.event_id: Held(matched={ANN}, first_received_us={ANN: orphan.received_us})}
    found = assign([orphan], {UNDER: [Candidate(ANN, "")]}, held)
    assert (found.named, found.matched, found.withdrawn) == ([], [], [])


def test_a_second_dispatch_takes_away_what_is_certainly_not_the_firsts() -> None:
    orphan = an_orphan(address="ann@example.com")
    held = {orphan.event_id: Held(matched={BOB}, first_received_us={BOB: orphan.received_us})}
    several = {UNDER: [Candidate(ANN, ""), Candidate(BOB, "bob@example.com")]}
    assert [e.message_id for e in assign([orphan], several, held).withdrawn] == ["m-bob"]


def test_while_no_to_is_told_nothing_is_taken_away() -> None:
    orphan = an_orphan(address="ann@example.com")
    held = {orphan.event_id: Held(matched={BOB}, first_received_us={BOB: orphan.received_us})}
    assert assign([orphan], {UNDER: [Candidate(ANN, ""), Candidate(BOB, "")]}, held).withdrawn == []


def test_a_change_of_a_suppression_list_has_a_log_row_of_its_own() -> None:
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
    row = of_everybody(change)
    assert row is not None
    assert row.account_id == EVERYBODY
    assert message_id_or_blank(row.message_id) == row.message_id
    assert sent_at_us(row.message_id) == change.occurred_us // 1000 * 1000
    assert of_everybody(change) == row, "the id follows from the event alone"
    caption = caption_of(row)
    assert (caption.template_name, caption.to, caption.to_key) == (
        SUPPRESSION_LIST,
        "Ann@Example.com",
        "ann@example.com",
    )


@pytest.mark.parametrize("changed_at", [None, "", "yesterday", "1999-01-01T00:00:00Z", "2199-01-01T00:00:00Z"])
def test_a_change_without_a_time_has_one_row_however_often_it_is_delivered(changed_at: str | None) -> None:
    change = {"RecordType": "SubscriptionChange", "Recipient": "ann@example.com", "ServerID": 7, "MessageStream": "out"}
    change |= {"SuppressSending": True, "SuppressionReason": "HardBounce", "Origin": "Recipient"}
    body = orjson.dumps(change if changed_at is None else change | {"ChangedAt": changed_at})
    places = [a_place(topic="webhooks.postmark", received_us=NOW_US + n * 3_600_000_000) for n in range(2)]
    (first,), (second,) = (postmark.to_events(body, place, ()).events for place in places)
    assert (first.event_id, first.occurred_us) != (second.event_id, second.occurred_us)
    rows = [of_everybody(event) for event in (first, second)]
    assert rows[0] is not None
    assert rows[1] is not None
    assert rows[0].message_id == rows[1].message_id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"provider_message_id": "abc"}, id="names a message of Postmark's"),
        pytest.param({"message_id": "m"}, id="names a message of ours"),
        pytest.param({"type": "bounced"}, id="is no change of a list"),
    ],
)
def test_no_other_event_has_one(said: dict[str, str]) -> None:
    change = an_event("subscription_changed", account_id="", message_id="", provider_message_id="", address="a@b.c")
    assert of_everybody(change._replace(**said)) is None  # type: ignore[arg-type]  # texts all of them

"""The reference fold: the effect of each fact on the row, and that order and repeats have none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.messages.reference_fold import COUNT_LIMIT, Known, MessageRow, fold
from tests.building import ACCOUNT, MESSAGE, NOW_US, a_decision, a_request, an_event, everything_known

SECOND = 1_000_000


def row(**known: object) -> MessageRow:
    return fold(ACCOUNT, MESSAGE, Known(**known))  # type: ignore[arg-type]  # a Known's fields, by name


@given(everything_known(), st.data())
def test_the_row_ignores_order_and_repeats(known: Known, data: st.DataObject) -> None:
    shuffled = Known(
        *(data.draw(st.permutations([*facts, *list(facts)[:3]])) for facts in (known.requests, known.decisions)),
        *(data.draw(st.permutations([*facts, *list(facts)[:3]])) for facts in (known.dispatches, known.events)),
    )
    assert fold(ACCOUNT, MESSAGE, shuffled) == fold(ACCOUNT, MESSAGE, known)


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        pytest.param([], "Pending", id="no event"),
        pytest.param(["unknown"], "Pending", id="an unknown event does not change the status"),
        pytest.param(["processed"], "Processed", id="processed"),
        pytest.param(["processed", "deferred"], "Processed", id="deferred is shown as processed"),
        pytest.param(["opened", "delivered"], "Opened", id="delivered after opened does not hide it"),
        pytest.param(["opened", "clicked"], "Clicked", id="a click outranks an open"),
        pytest.param(["bounced", "delivered"], "Bounced", id="a later delivered never hides a bounce"),
        pytest.param(["bounced", "opened"], "Bounced", id="an open never hides a bounce"),
        pytest.param(["delivered", "blocked"], "Bounced", id="a block is a bounce"),
        pytest.param(["delivered", "failed"], "Bounced", id="a failure is a bounce"),
        pytest.param(["delivered", "dropped"], "Dropped", id="dropped"),
        pytest.param(["clicked", "subscription_changed"], "Subscriptionchange", id="a subscription change"),
        pytest.param(["delivered", "complained"], "Delivered", id="a complaint is a flag, not a status"),
    ],
)
def test_the_status_follows_from_the_events(kinds: list[str], status: str) -> None:
    assert row(events=[an_event(kind) for kind in kinds]).status == status


@pytest.mark.parametrize(
    ("kind", "status", "sub_status"),
    [
        ("failed", "undelivered", "undelivered"),
        pytest.param("failed", " Failed\n", "failed", id="normalised to lower case"),
        ("dropped", "canceled", "canceled"),
    ],
)
def test_the_sub_status_of_a_failed_sms_is_twilios_status(kind: str, status: str, sub_status: str) -> None:
    failed = row(events=[an_event(kind, provider="twilio", classification=status)])
    assert (failed.sub_status, failed.classification) == (sub_status, status)


@pytest.mark.parametrize(
    ("reason", "sub_status"),
    [
        ("Spam Content", "content"),
        ("Spam Content (if Spam Checker app is enabled)", "content"),
        (" spam content: score 7.1, HTML_ONLY", "content"),
        ("No Spam Content", "other"),
        ("Spam Reporting Address", "spam"),
    ],
)
def test_spam_content_with_any_suffix_gives_the_sub_status_content(reason: str, sub_status: str) -> None:
    assert row(events=[an_event("dropped", reason=reason)]).sub_status == sub_status


def test_a_machine_open_proves_delivery_but_is_not_an_open() -> None:
    opened = row(events=[an_event("opened", machine=True)])
    assert (opened.status, opened.opens, opened.machine_opens, opened.opened_at) == ("Delivered", 0, 1, None)


def test_an_event_of_a_cc_does_not_change_the_row() -> None:
    alone = row(requests=[a_request()])
    with_cc = row(requests=[a_request()], events=[an_event("bounced", address="cc@example.com")])
    assert replace(with_cc, provider="", provider_message_id="") == alone


@pytest.mark.parametrize("address", ["rcs:+15550000001", "15550000001", "ANN", ""])
def test_an_event_of_an_sms_counts_for_the_to_whatever_its_address(address: str) -> None:
    texted = row(requests=[a_request(channel="sms", to="+15550000001")], events=[an_event("failed", address=address)])
    assert texted.status == "Bounced"


@pytest.mark.parametrize("kind", ["bounced", "delivered", "deferred", "complained", "subscription_changed"])
def test_the_machine_flag_matters_only_for_opens_and_clicks(kind: str) -> None:
    flagged, plain = an_event(kind, machine=True), an_event(kind, machine=False)
    assert row(events=[flagged]) == row(events=[plain])


def test_every_address_counts_until_a_request_names_the_to() -> None:
    assert row(events=[an_event("bounced", address="cc@example.com")]).status == "Bounced"


def test_a_refusal_is_shown_whatever_the_provider_reports() -> None:
    refused = row(decisions=[a_decision("declined")], events=[an_event("delivered")])
    assert (refused.status, refused.code, refused.anomalies) == ("Declined", "manual", ("event_after_refusal",))


def test_of_two_copies_the_one_received_first_is_kept() -> None:
    first = an_event("bounced", code="550", received_us=NOW_US)
    second = first._replace(code="551", received_us=NOW_US + SECOND)
    assert row(events=[second, first]).code == "550"


def test_of_two_copies_one_with_a_code_wins_as_of_two_events() -> None:
    first = an_event("bounced", code="", received_us=NOW_US)
    second = first._replace(code="550", received_us=NOW_US + SECOND)
    assert row(events=[second, first]).code == "550"


def test_a_repeated_delivered_event_is_not_a_delivery_after_the_bounce() -> None:
    delivered = an_event("delivered")
    repeated = delivered._replace(occurred_us=NOW_US + 9 * SECOND, received_us=NOW_US + 9 * SECOND)
    bounced = an_event("bounced", occurred_us=NOW_US + SECOND)
    assert row(events=[delivered, bounced, repeated]).anomalies == ()


def test_delivered_after_a_bounce_is_an_anomaly() -> None:
    bounced = an_event("bounced")
    assert row(events=[bounced, an_event("delivered", occurred_us=NOW_US + 1)]).anomalies == ("delivered_after_bounce",)


def test_two_requests_with_different_contents_are_an_anomaly() -> None:
    conflict = row(requests=[a_request(), a_request(subject="Another")])
    assert conflict.anomalies == ("conflicting_requests",)


def test_counts_stop_at_their_limit() -> None:
    opens = [an_event("opened", occurred_us=NOW_US + n) for n in range(COUNT_LIMIT + 5)]
    assert row(events=opens).opens == COUNT_LIMIT

"""Matching events to messages: our ids missing, wrong or contradictory, with and without a dispatch that helps."""

from typing import Final

from simulator.durations import MINUTE, SECOND
from simulator.scenarios.scenario import MAIL, SENDGRID, Scenario, variants_of
from simulator.timeline import Timeline

__all__ = ["SCENARIOS"]


def _without_our_ids_late_dispatch(omits: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.late = ("dispatch",)
        t.delivered_normally(omits=omits)

    return Scenario(f"{_MISSING[omits]}, the dispatch comes later", 0.1, build)


def _without_our_ids(omits: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.delivered_normally(omits=omits)

    return Scenario(f"{_MISSING[omits]}, dispatched", 0.1, build)


def _orphaned(omits: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.dispatched = ""
        t.delivered_normally(omits=omits)

    return Scenario(f"{_MISSING[omits]}, never dispatched", 0.1, build)


def _bounced_without_our_ids(t: Timeline) -> None:
    t.processed(omits="our_ids")
    t.bounced(omits="our_ids")


def _orphaned_bounce(t: Timeline) -> None:
    # It still counts for its address.
    t.dispatched = ""
    t.bounced(omits="our_ids")


def _events_before_records(t: Timeline) -> None:
    # All of its events come before any record that names it.
    t.late = ("request", "decision", "dispatch")
    t.delivered_normally(omits="our_ids")


def _matched_copy(t: Timeline) -> None:
    t.ccs = 1
    t.delivered_normally(omits="our_ids")
    t.add("delivered", cc=1, omits="our_ids")
    t.wait(MINUTE, 5 * MINUTE)
    t.opened(cc=1, omits="our_ids")


def _our_ids_in_first_delivery(t: Timeline) -> None:
    # Two deliveries of one event, only one with our ids: the event belongs to the message, without a dispatch.
    t.dispatched = ""
    t.delivered()
    t.wait(SECOND, 5 * MINUTE)
    t.redeliver(omits="our_ids")


def _our_ids_in_second_delivery(t: Timeline) -> None:
    t.dispatched = ""
    t.delivered(omits="our_ids")
    t.wait(SECOND, 5 * MINUTE)
    t.redeliver()


def _other_id(t: Timeline) -> None:
    t.dispatched = "other"
    t.delivered_normally()


def _other_id_without_our_ids(t: Timeline) -> None:
    # The dispatch has another id, so events without our ids match no message.
    t.dispatched = "other"
    t.delivered()
    t.opened(omits="our_ids")


def _two_in_one_call(t: Timeline) -> None:
    # One API call with two recipients: SendGrid gives both messages one id, and the address decides.
    t.shared_call = True
    t.delivered_normally(omits="our_ids")
    t.add("dropped", "invalid", omits="our_ids address")


def _odd_timestamp(t: Timeline, variant: str) -> None:
    t.processed()
    t.delivered(variant)


_MISSING: Final = {
    "our_ids": "our ids missing",
    "our_ids_invalid": "our ids wrong",
    "one_of_our_ids": "half of our ids missing",
}

SCENARIOS: Final = (
    *(_without_our_ids(omits) for omits in _MISSING),
    *(_without_our_ids_late_dispatch(omits) for omits in _MISSING),
    *(_orphaned(omits) for omits in _MISSING),
    Scenario("bounced, our ids missing, dispatched", 0.1, _bounced_without_our_ids),
    Scenario("bounced, our ids missing, never dispatched", 0.1, _orphaned_bounce),
    Scenario("events before any record that names it", 0.1, _events_before_records),
    Scenario("copied, our ids missing", 0.1, _matched_copy, MAIL),
    Scenario("our ids in the first delivery only", 0.1, _our_ids_in_first_delivery),
    Scenario("our ids in the second delivery only", 0.1, _our_ids_in_second_delivery),
    Scenario("another id dispatched", 0.1, _other_id),
    Scenario("another id dispatched, our ids missing", 0.1, _other_id_without_our_ids, MAIL),
    Scenario("two messages in one API call", 0, _two_in_one_call, SENDGRID),
    *variants_of(
        "delivered, timestamp",
        ("milliseconds", "text", "odd", "missing", "not a time", "before 2009", "in the future"),
        0.1,
        _odd_timestamp,
        SENDGRID,
    ),
)

"""The metrics of arriving events."""

from processors.ledger.arrivals import count_arrivals
from schemas.decoding.times import SECOND_US
from schemas.telemetry import PREFIX, Telemetry
from tests.building import NOW_US, an_event


def value(telemetry: Telemetry, name: str, provider: str, kind: str) -> float | None:
    return telemetry.registry.get_sample_value(PREFIX + name, {"provider": provider, "type": kind})


def test_events_are_counted_with_the_newest_and_the_median_delay() -> None:
    telemetry = Telemetry()
    delays = [5, 1, 40]
    events = [an_event(received_us=NOW_US + delay * SECOND_US) for delay in delays]
    count_arrivals(telemetry, [*events, an_event("unknown", provider="twilio"), an_event("unknown")])
    assert value(telemetry, "events_total", "sendgrid", "delivered") == 3
    assert value(telemetry, "event_received_timestamp_seconds", "sendgrid", "delivered") == NOW_US / SECOND_US + 40
    assert value(telemetry, "arrival_delay_seconds_sum", "sendgrid", "delivered") == 5
    assert value(telemetry, "arrival_delay_seconds_count", "sendgrid", "delivered") == 1
    assert value(telemetry, "events_total", "twilio", "unknown") == 1
    assert telemetry.registry.get_sample_value(f"{PREFIX}unknown_total", {"provider": "sendgrid"}) == 1


def test_events_without_a_time_of_their_own_have_no_delay() -> None:
    telemetry = Telemetry()
    count_arrivals(telemetry, [an_event(provider="twilio")])
    assert value(telemetry, "events_total", "twilio", "delivered") == 1
    assert value(telemetry, "arrival_delay_seconds_count", "twilio", "delivered") is None


def test_a_provider_whose_clock_is_ahead_is_not_late() -> None:
    telemetry = Telemetry()
    count_arrivals(telemetry, [an_event(occurred_us=NOW_US + SECOND_US)])
    assert value(telemetry, "arrival_delay_seconds_sum", "sendgrid", "delivered") == 0


def failures(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """`delivery_failures_total`, by provider, fault and code."""
    samples = [
        sample
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name == f"{PREFIX}delivery_failures_total"
    ]
    return {tuple(s.labels[label] for label in ("provider", "fault", "code")): s.value for s in samples}


def test_failures_are_counted_by_fault_and_a_bounded_code() -> None:
    telemetry = Telemetry()
    events = [
        an_event("bounced", fault="recipient", code="550", enhanced_code="5.1.1"),
        an_event("bounced", fault="recipient", code="550", enhanced_code="5.1.10"),
        an_event("blocked", fault="sender", enhanced_code="5.7.1"),
        an_event("failed", provider="twilio", fault="sender", code="30007"),
        an_event("failed", provider="twilio", fault="unknown", code="whatever a provider writes"),
        an_event("dropped", fault="unknown"),
    ]
    count_arrivals(telemetry, events)
    assert failures(telemetry) == {
        ("sendgrid", "recipient", "5.1"): 2,
        ("sendgrid", "sender", "5.7"): 1,
        ("twilio", "sender", "30007"): 1,
        ("twilio", "unknown", "other"): 1,
        ("sendgrid", "unknown", "other"): 1,
    }


def test_a_deferral_is_no_failure_yet() -> None:
    telemetry = Telemetry()
    count_arrivals(telemetry, [an_event("deferred", fault="infrastructure", enhanced_code="4.7.1"), an_event()])
    assert failures(telemetry) == {}

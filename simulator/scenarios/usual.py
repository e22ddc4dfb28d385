"""The usual scenarios: pending, processed, delivered, opened, clicked, and copies."""

from typing import Final

from simulator.durations import DAY, MINUTE, SECOND
from simulator.scenarios.scenario import ALL_PROVIDERS, MAIL, SENDGRID, TWILIO, Scenario, variants_of
from simulator.timeline import Timeline

__all__ = ["SCENARIOS"]


def _undecided(t: Timeline) -> None:
    t.decisions, t.dispatched = (), ""


def _approved_only(t: Timeline) -> None:
    t.dispatched = ""


def _dispatched_only(_: Timeline) -> None:
    pass


def _processed(t: Timeline, variant: str) -> None:
    t.processed("" if variant == "plain" else variant)


def _queued_and_sending(t: Timeline) -> None:
    t.processed("queued")
    t.wait(SECOND, 3 * SECOND)
    t.add("processed", "sending")


def _sent(t: Timeline) -> None:
    t.processed()
    t.sent()


def _deferred(t: Timeline) -> None:
    t.processed()
    t.deferred(1 + t.rng.randrange(4))


def _deferred_then_delivered(t: Timeline) -> None:
    t.processed()
    t.deferred(1 + t.rng.randrange(3))
    t.delivered()


def _delivered(t: Timeline) -> None:
    t.delivered_normally()


def _delivered_first(t: Timeline) -> None:
    # Twilio sends no callback for the first status, and guarantees no order.
    t.delivered()


def _sent_after_delivered(t: Timeline) -> None:
    t.delivered()
    t.wait(5 * SECOND, MINUTE)
    t.sent()


def _delivered_variant(t: Timeline, variant: str) -> None:
    t.processed()
    t.sent()
    t.delivered(variant)


def _opened(t: Timeline) -> None:
    t.delivered_normally()
    for _ in range(1 + t.rng.randrange(3) // 2):
        t.opened()


def _read(t: Timeline) -> None:
    t.to = "whatsapp"
    t.delivered_normally()
    t.wait(5 * SECOND, 30 * MINUTE)
    t.add("opened")


def _read_without_delivery(t: Timeline) -> None:
    t.to = "whatsapp"
    t.processed()
    t.sent()
    t.wait(5 * SECOND, 30 * MINUTE)
    t.add("opened")


def _opened_by_machine(t: Timeline) -> None:
    t.delivered_normally()
    t.opened(machine=True)


def _opened_by_machine_only(t: Timeline) -> None:
    # An open by a machine only proves the delivery.
    t.processed()
    t.opened(machine=True)


def _opened_by_machine_then_human(t: Timeline) -> None:
    t.delivered_normally()
    t.opened(machine=True)
    t.opened()


def _machine_flag_as_text(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(2 * SECOND, MINUTE)
    t.add("opened", "machine flag as text", agent="Mozilla/5.0", ip="192.0.2.99")


def _opened_often(t: Timeline) -> None:
    t.delivered_normally()
    for _ in range(8 + t.rng.randrange(30)):
        t.wait(30 * SECOND, 20 * MINUTE)
        t.add("opened", agent="Mozilla/5.0 (via ggpht.com GoogleImageProxy)", ip="203.0.113.7")


def _opened_without_delivery(t: Timeline) -> None:
    t.processed()
    t.opened()


def _clicked(t: Timeline) -> None:
    t.delivered_normally()
    if t.rng.random() < 0.3:
        t.opened(machine=True)
    t.opened()
    for _ in range(1 + t.rng.randrange(4) // 3):
        t.clicked()


def _clicked_only(t: Timeline) -> None:
    # Images were off, so that the open was not seen.
    t.delivered_normally()
    t.wait(MINUTE, 10 * MINUTE)
    t.clicked()


def _copied(t: Timeline) -> None:
    t.ccs = 1 + t.rng.randrange(2)
    t.delivered_normally()
    for cc in range(1, t.ccs + 1):
        t.add("processed", cc=cc)
        t.wait(SECOND, 5 * SECOND)
        t.add("delivered", cc=cc)
    t.opened()


def _only_the_copy_is_opened(t: Timeline) -> None:
    t.ccs = 1
    t.delivered_normally()
    t.add("delivered", cc=1)
    t.opened(cc=1)


def _redelivered_days_later(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(2 * DAY, 5 * DAY)
    t.redeliver()
    t.wait(SECOND, DAY)
    t.redeliver()


SCENARIOS: Final = (
    Scenario("undecided", 0.3, _undecided),
    Scenario("approved, nothing more", 0.3, _approved_only),
    Scenario("dispatched, nothing more", 0.6, _dispatched_only),
    Scenario("processed", 0.8, lambda t: _processed(t, "plain"), SENDGRID),
    *variants_of("processed", ("accepted", "scheduled", "queued", "sending"), 0.2, _processed, TWILIO),
    Scenario("queued, then sending", 0.2, _queued_and_sending, TWILIO),
    Scenario("sent", 3, _sent, TWILIO),
    Scenario("deferred", 0.8, _deferred, MAIL),
    Scenario("deferred, then delivered", 2, _deferred_then_delivered, MAIL),
    Scenario("delivered", 27, _delivered),
    Scenario("delivered, the first event", 0.5, _delivered_first, TWILIO),
    Scenario("sent after delivered", 1, _sent_after_delivered, TWILIO),
    *variants_of("delivered", ("old name", "two names"), 0.5, _delivered_variant, TWILIO),
    *variants_of("delivered", ("by rcs", "without the plus"), 0.2, _delivered_variant, TWILIO),
    Scenario("opened", 20, _opened, MAIL),
    Scenario("read", 2, _read, TWILIO),
    Scenario("read, no delivery event", 0.3, _read_without_delivery, TWILIO),
    Scenario("opened by a machine", 8, _opened_by_machine, MAIL),
    Scenario("opened by a machine, no delivery event", 0.3, _opened_by_machine_only, SENDGRID),
    Scenario("opened by a machine, then by a human", 4, _opened_by_machine_then_human, SENDGRID),
    Scenario("opened by a machine, flag as text", 0.1, _machine_flag_as_text, SENDGRID),
    Scenario("opened often", 0.3, _opened_often, MAIL),
    Scenario("opened, no delivery event", 0.4, _opened_without_delivery, MAIL),
    Scenario("clicked", 12, _clicked, MAIL),
    Scenario("clicked, never opened", 0.5, _clicked_only, MAIL),
    Scenario("copied", 1.5, _copied, MAIL),
    Scenario("only the copy is opened", 0.2, _only_the_copy_is_opened, MAIL),
    Scenario("delivered again days later", 0.2, _redelivered_days_later, ALL_PROVIDERS),
)

"""What becomes of most messages: they are on their way, they arrive, somebody looks at them."""

from typing import Final

from simulator.courses.course import ALL, MAIL, SENDGRID, TWILIO, Course, each
from simulator.durations import DAY, MINUTE, SECOND
from simulator.script import Script

__all__ = ["COURSES"]


def _undecided(s: Script) -> None:
    s.verdicts, s.dispatched = (), ""


def _approved_only(s: Script) -> None:
    s.dispatched = ""


def _dispatched_only(_: Script) -> None:
    pass


def _processed(s: Script, how: str) -> None:
    s.processed("" if how == "plainly" else how)


def _queued_and_sending(s: Script) -> None:
    s.processed("queued")
    s.wait(SECOND, 3 * SECOND)
    s.tell("processed", "sending")


def _sent(s: Script) -> None:
    s.processed()
    s.sent()


def _deferred(s: Script) -> None:
    s.processed()
    s.deferred(1 + s.rng.randrange(4))


def _deferred_then_delivered(s: Script) -> None:
    s.processed()
    s.deferred(1 + s.rng.randrange(3))
    s.delivered()


def _delivered(s: Script) -> None:
    s.arrives()


def _delivered_first(s: Script) -> None:
    # Twilio tells no first status, and no order is promised.
    s.delivered()


def _sent_after_delivered(s: Script) -> None:
    s.delivered()
    s.wait(5 * SECOND, MINUTE)
    s.sent()


def _delivered_in_words(s: Script, how: str) -> None:
    s.processed()
    s.sent()
    s.delivered(how)


def _opened(s: Script) -> None:
    s.arrives()
    for _ in range(1 + s.rng.randrange(3) // 2):
        s.opened()


def _read(s: Script) -> None:
    s.to = "whatsapp"
    s.arrives()
    s.wait(5 * SECOND, 30 * MINUTE)
    s.tell("opened")


def _read_untold_delivery(s: Script) -> None:
    s.to = "whatsapp"
    s.processed()
    s.sent()
    s.wait(5 * SECOND, 30 * MINUTE)
    s.tell("opened")


def _opened_by_machine(s: Script) -> None:
    s.arrives()
    s.opened(machine=True)


def _opened_by_machine_only(s: Script) -> None:
    # A machine's open proves that it was delivered, and no more.
    s.processed()
    s.opened(machine=True)


def _opened_by_machine_then_human(s: Script) -> None:
    s.arrives()
    s.opened(machine=True)
    s.opened()


def _machine_in_words(s: Script) -> None:
    s.arrives()
    s.wait(2 * SECOND, MINUTE)
    s.tell("opened", "machine in words", agent="Mozilla/5.0", ip="192.0.2.99")


def _opened_often(s: Script) -> None:
    s.arrives()
    for _ in range(8 + s.rng.randrange(30)):
        s.wait(30 * SECOND, 20 * MINUTE)
        s.tell("opened", agent="Mozilla/5.0 (via ggpht.com GoogleImageProxy)", ip="203.0.113.7")


def _opened_untold_delivery(s: Script) -> None:
    s.processed()
    s.opened()


def _clicked(s: Script) -> None:
    s.arrives()
    if s.rng.random() < 0.3:
        s.opened(machine=True)
    s.opened()
    for _ in range(1 + s.rng.randrange(4) // 3):
        s.clicked()


def _clicked_only(s: Script) -> None:
    # Pictures were off, so that no open was seen.
    s.arrives()
    s.wait(MINUTE, 10 * MINUTE)
    s.clicked()


def _copied(s: Script) -> None:
    s.ccs = 1 + s.rng.randrange(2)
    s.arrives()
    for cc in range(1, s.ccs + 1):
        s.tell("processed", cc=cc)
        s.wait(SECOND, 5 * SECOND)
        s.tell("delivered", cc=cc)
    s.opened()


def _only_the_copy_is_read(s: Script) -> None:
    s.ccs = 1
    s.arrives()
    s.tell("delivered", cc=1)
    s.opened(cc=1)


def _told_again_days_later(s: Script) -> None:
    s.arrives()
    s.wait(2 * DAY, 5 * DAY)
    s.tell_again()
    s.wait(SECOND, DAY)
    s.tell_again()


COURSES: Final = (
    Course("undecided", 0.3, _undecided),
    Course("approved, nothing more", 0.3, _approved_only),
    Course("dispatched, nothing more", 0.6, _dispatched_only),
    Course("processed", 0.8, lambda s: _processed(s, "plainly"), SENDGRID),
    *each("processed", ("accepted", "scheduled", "queued", "sending"), 0.2, _processed, TWILIO),
    Course("queued, then sending", 0.2, _queued_and_sending, TWILIO),
    Course("sent", 3, _sent, TWILIO),
    Course("deferred", 0.8, _deferred, MAIL),
    Course("deferred, then delivered", 2, _deferred_then_delivered, MAIL),
    Course("delivered", 27, _delivered),
    Course("delivered, said first", 0.5, _delivered_first, TWILIO),
    Course("sent after delivered", 1, _sent_after_delivered, TWILIO),
    *each("delivered", ("old name", "two names"), 0.5, _delivered_in_words, TWILIO),
    *each("delivered", ("by rcs", "without the plus"), 0.2, _delivered_in_words, TWILIO),
    Course("opened", 20, _opened, MAIL),
    Course("read", 2, _read, TWILIO),
    Course("read, the delivery untold", 0.3, _read_untold_delivery, TWILIO),
    Course("opened by a machine", 8, _opened_by_machine, MAIL),
    Course("opened by a machine, the delivery untold", 0.3, _opened_by_machine_only, SENDGRID),
    Course("opened by a machine, then by a human", 4, _opened_by_machine_then_human, SENDGRID),
    Course("opened by a machine, says a text", 0.1, _machine_in_words, SENDGRID),
    Course("opened often", 0.3, _opened_often, MAIL),
    Course("opened, the delivery untold", 0.4, _opened_untold_delivery, MAIL),
    Course("clicked", 12, _clicked, MAIL),
    Course("clicked, never opened", 0.5, _clicked_only, MAIL),
    Course("copied", 1.5, _copied, MAIL),
    Course("only the copy is read", 0.2, _only_the_copy_is_read, MAIL),
    Course("told again days later", 0.2, _told_again_days_later, ALL),
)

"""Whose event is it: our ids missing, wrong or at odds with the provider's, and what a dispatch can mend of that."""

from typing import Final

from simulator.courses.course import MAIL, SENDGRID, Course, each
from simulator.durations import MINUTE, SECOND
from simulator.script import Script

__all__ = ["COURSES"]


def _nameless_then_dispatch(lacks: str) -> Course:
    def play(s: Script) -> None:
        s.late = ("dispatch",)
        s.arrives(lacks=lacks)

    return Course(f"{_MISSING[lacks]}, the dispatch comes later", 0.1, play)


def _nameless(lacks: str) -> Course:
    def play(s: Script) -> None:
        s.arrives(lacks=lacks)

    return Course(f"{_MISSING[lacks]}, dispatched", 0.1, play)


def _orphaned(lacks: str) -> Course:
    def play(s: Script) -> None:
        s.dispatched = ""
        s.arrives(lacks=lacks)

    return Course(f"{_MISSING[lacks]}, never dispatched", 0.1, play)


def _bounced_nameless(s: Script) -> None:
    s.processed(lacks="ours")
    s.fails(lacks="ours")


def _orphaned_bounce(s: Script) -> None:
    # It counts for its address all the same.
    s.dispatched = ""
    s.fails(lacks="ours")


def _matched_before_known(s: Script) -> None:
    # Everything about it comes before whatever names it.
    s.late = ("request", "decision", "dispatch")
    s.arrives(lacks="ours")


def _matched_copy(s: Script) -> None:
    s.ccs = 1
    s.arrives(lacks="ours")
    s.tell("delivered", cc=1, lacks="ours")
    s.wait(MINUTE, 5 * MINUTE)
    s.opened(cc=1, lacks="ours")


def _named_in_one_copy(s: Script) -> None:
    # Two deliveries of one fact, and only one of them has our ids: it is the message's. No dispatch helps.
    s.dispatched = ""
    s.delivered()
    s.wait(SECOND, 5 * MINUTE)
    s.tell_again(lacks="ours")


def _named_in_the_later_copy(s: Script) -> None:
    s.dispatched = ""
    s.delivered(lacks="ours")
    s.wait(SECOND, 5 * MINUTE)
    s.tell_again()


def _other_id(s: Script) -> None:
    s.dispatched = "other"
    s.arrives()


def _other_id_and_nameless(s: Script) -> None:
    # The dispatch says another id, so what lacks our ids finds no message.
    s.dispatched = "other"
    s.delivered()
    s.opened(lacks="ours")


def _twin(s: Script) -> None:
    # One call with two recipients: SendGrid gives both messages one id, and the address decides.
    s.twin = True
    s.arrives(lacks="ours")
    s.tell("dropped", "invalid", lacks="ours address")


def _broken_clock(s: Script, how: str) -> None:
    s.processed()
    s.delivered(how)


_MISSING: Final = {"ours": "our ids missing", "valid_ours": "our ids wrong", "half_of_ours": "half of our ids missing"}

COURSES: Final = (
    *(_nameless(lacks) for lacks in _MISSING),
    *(_nameless_then_dispatch(lacks) for lacks in _MISSING),
    *(_orphaned(lacks) for lacks in _MISSING),
    Course("bounced, our ids missing, dispatched", 0.1, _bounced_nameless),
    Course("bounced, our ids missing, never dispatched", 0.1, _orphaned_bounce),
    Course("told before anything that names it", 0.1, _matched_before_known),
    Course("copied, our ids missing", 0.1, _matched_copy, MAIL),
    Course("our ids in the first copy", 0.1, _named_in_one_copy),
    Course("our ids in the second copy", 0.1, _named_in_the_later_copy),
    Course("another id dispatched", 0.1, _other_id),
    Course("another id dispatched, our ids missing", 0.1, _other_id_and_nameless, MAIL),
    Course("two in one call", 0, _twin, SENDGRID),
    *each(
        "delivered, a clock that says",
        ("milliseconds", "text", "odd", "no time", "nonsense", "before 2009", "ahead"),
        0.1,
        _broken_clock,
        SENDGRID,
    ),
)

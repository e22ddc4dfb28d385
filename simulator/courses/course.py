"""What a course is: one way that a message can go, and which providers may play it."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from simulator.script import Script

__all__ = ["ALL", "MAIL", "POSTMARK", "SENDGRID", "TWILIO", "Course", "each"]

MAIL: Final = ("sendgrid", "postmark")
ALL: Final = ("sendgrid", "postmark", "twilio")
SENDGRID: Final = ("sendgrid",)
POSTMARK: Final = ("postmark",)
TWILIO: Final = ("twilio",)


class Course(NamedTuple):
    """A way that a message can go, and how often it does."""

    name: str
    weight: float
    play: Callable[[Script], None]
    providers: tuple[str, ...] = ALL
    decides: bool = False
    """Whether it is about what is decided, and so not for a plan whose messages a gate decides."""


def each(
    name: str, hows: Iterable[str], weight: float, play: Callable[[Script, str], None], providers: tuple[str, ...]
) -> tuple[Course, ...]:
    """Return a course for each of `hows`, which `play` is told."""

    def of(how: str) -> Course:
        return Course(f"{name}: {how}", weight, lambda script: play(script, how), providers)

    return tuple(of(how) for how in hows)

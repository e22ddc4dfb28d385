"""A story: all about one message, as it will be sent and as it must come out."""

from dataclasses import dataclass
from typing import Literal

from simulator.closing import Word
from simulator.facts import Asked, Decided, Dispatched
from simulator.people import Person
from simulator.plot import Quota
from simulator.providers.teller import Telling

__all__ = ["Fact", "FactKind", "Story"]

FactKind = Literal["request", "decision", "dispatch", "content", "policy", "preference", "command"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A record of one of our own topics."""

    kind: FactKind
    at_us: int
    value: bytes
    key: str
    chapter: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """All about one message."""

    account_id: str
    message_id: str
    course: str
    provider: str
    facts: tuple[Fact, ...]
    tellings: tuple[Telling, ...]
    told_in: int
    """The chapter in which its provider tells: later than that of its request, if an address may be closed by it."""
    requested: int
    """How many different requests there are, however often each comes."""
    asked: tuple[Asked, ...]
    """The different contents of its requests and of those inside its decisions."""
    decided: tuple[Decided, ...]
    dispatched: Dispatched | None
    shared: bool = False
    """Whether another message was dispatched under the same id."""
    quota: Quota | None = None
    """Which of the messages under it are approved is not known."""
    words: tuple[tuple[Person, Word], ...] = ()
    """What is commanded beside it, and about whose address."""

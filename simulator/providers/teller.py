"""What a provider tells: the bytes of a post, and what must be understood of them.

A teller plays one provider for one message: it turns the beats of a script into tellings. What it wrote into a field it
also states as a `Meaning`, from its own knowledge and docs/reference/providers, never by reading its bytes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, Protocol

import orjson

from simulator.closing import Word
from simulator.people import Person, Template
from simulator.script import Again, Beat

__all__ = [
    "NAMELESS",
    "Envelope",
    "MakeTeller",
    "Meaning",
    "Teller",
    "Telling",
    "json_bytes",
    "names_message",
    "tellings_of",
]

NAMELESS: Final = frozenset({"ours", "valid_ours", "half_of_ours"})
"""A beat that lacks any of these names no message."""


class Envelope(NamedTuple):
    """What a provider knows of a message."""

    number: int
    """That of its story, for ids that are unique in the plan."""
    account_id: str
    message_id: str
    template: Template
    to: Person
    ccs: tuple[Person, ...]
    sender: str
    shared_id: str
    """The provider's id of it, where another message has that too; else blank."""


class Meaning(NamedTuple):
    """What must be understood of a telling. Texts are blank where it says nothing."""

    type: str
    address: str
    """The key of the address."""
    occurred_us: int | None
    """None: it has no time, or none that can be true, and so that of its arrival."""
    code: str = ""
    reason: str = ""
    classification: str = ""
    sub_status: str = ""
    """What it makes of a message whose status it decides."""
    machine: bool = False
    provider_message_id: str = ""
    """As the ids of dispatches are compared."""
    written_address: str = ""
    """The address as it is written, where a row shows it."""
    word: Word | None = None
    """What it says of the address, but for when; its scope is that of the account where it is an account's."""


@dataclass(frozen=True, slots=True)
class Telling:
    """One delivery of one fact."""

    at_us: int
    """When the provider knows it; it is posted then or later."""
    fact: str
    """Equal for two tellings if, and only if, they tell the same fact."""
    meaning: Meaning
    names_message: bool
    """Whether our own ids are in it, and valid."""
    value: bytes
    """The body of a post; or an element of one, where the provider posts lists."""
    query: str = ""
    """Of the URL that it is posted to."""
    own_id: str = ""
    """The provider's own id of the event, which may be another in the next delivery; blank: it has none."""


class Teller(Protocol):
    """One provider, as it tells about one message."""

    provider_message_id: str
    """The id that the provider gave the message, as it is compared."""
    whole_id: str
    """The same as its events have it, with whatever stands behind it."""
    smtp_id: str
    """The same as SendGrid writes it into the mail; of the others the plain id."""

    def tell(self, beat: Beat, start_us: int) -> list[Telling]:
        """Return what it tells of a beat: one telling a fact and delivery; nothing where it keeps silent."""
        ...


class MakeTeller(Protocol):
    """How a teller is made."""

    def __call__(self, envelope: Envelope, rng: Random) -> Teller: ...


class Render(Protocol):
    """Writes a fact without what it lacks; returns the bytes and the URL's query."""

    def __call__(self, lacks: tuple[str, ...]) -> tuple[bytes, str]: ...


def tellings_of(
    beat: Beat, start_us: int, fact: str, meaning: Meaning, render: Render, *, at_us: int, own_id: str = ""
) -> list[Telling]:
    """Return all deliveries of one fact: the first at `at_us`, and those that the beat wants again."""
    deliveries = [Again(at_us - start_us, beat.lacks), *beat.again]
    return [
        Telling(start_us + after_us, fact, meaning, names_message(lacks), *render(lacks), own_id)
        for after_us, lacks in deliveries
    ]


def names_message(lacks: tuple[str, ...]) -> bool:
    """Return whether what lacks this has our ids in it."""
    return NAMELESS.isdisjoint(lacks)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return JSON in memory of its own size: what orjson returns keeps a buffer of kilobytes while it lives."""
    return bytes(memoryview(orjson.dumps(value)))

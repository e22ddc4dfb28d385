"""Whom the simulated messages are for and what they are about: recipients, templates, senders.

Everything follows from a number, so that the same person has the same address in every story. But what can close an
address is told only of one that no other story and no other plan has (`own`): else what is decided of a message would
depend on which of two stories was read first. Mail goes to domains that are kept for examples, texts to numbers that
are kept for films, or that lie under +999, a code that no country has.
"""

from hashlib import sha256
from random import Random
from typing import Final, NamedTuple

__all__ = ["TEMPLATES", "Person", "Template", "client", "own", "recipient", "sender", "staff"]


class Person(NamedTuple):
    """A recipient."""

    kind: str
    id: str
    name: str
    address: str
    """As somebody wrote it into the booking."""
    key: str
    """The one spelling under which the address is compared."""


class Template(NamedTuple):
    """A kind of message; `group` is the number of its unsubscribe group at SendGrid, blank where it has none."""

    id: str
    name: str
    kind: str
    subject: str
    group: str
    weight: int


TEMPLATES: Final = (
    Template("booking-confirmed", "Booking confirmed", "transactional", "Your appointment on {day}", "", 30),
    Template("reminder-24h", "Reminder", "transactional", "Tomorrow at {hour}: {service}", "", 34),
    Template("booking-moved", "Booking moved", "transactional", "Your appointment has moved to {day}", "", 8),
    Template("booking-cancelled", "Booking cancelled", "transactional", "Cancelled: {service} on {day}", "", 6),
    Template("receipt", "Receipt", "transactional", "Receipt for {service} — thank you", "", 8),
    Template("staff-day-plan", "Plan of the day", "transactional", "Your appointments on {day}", "", 5),
    Template("review-invitation", "Review invitation", "invitation", "How was your {service}?", "14251", 5),
    Template("newsletter", "Newsletter", "marketing", "News for {day}: −20 % on {service}", "14250", 4),
)

_FIRST: Final = (
    "Ann", "Ben", "Chloë", "Dev", "Eva", "Finn", "Grete", "Hugo", "Ines", "Jan",
    "Kim", "Lars", "Mia", "Noah", "Olga", "Pia", "Quentin", "Rosa", "Sven", "Zoë",
)  # fmt: skip
_LAST: Final = (
    "Abel", "Brandt", "Costa", "Dubois", "Engel", "Fischer", "Garcia", "Huber",
    "Ivanov", "Jensen", "Keller", "Lund", "Moreau", "Novak", "Olsen",
)  # fmt: skip
_DOMAINS: Final = ("example.com", "example.com", "example.org", "example.net")
_IDN: Final = ("Bücher.example", "xn--bcher-kva.example")
"""An international domain as people write it, and in the form that is compared."""
_ASCII: Final = str.maketrans("ë", "e")
_NOBODY: Final = ("none", "ann at example.com", "ann@", "0660 123")


def recipient(rng: Random, channel: str, template: Template, to: str, mark: str = "") -> Person:
    """Return somebody whom a message of `template` is for; `to` as in a script. `mark`: somebody of its own."""
    if mark:
        return own(channel, mark, whatsapp=to == "whatsapp")
    if to == "other":
        return client(30_000 + rng.randrange(500))
    of_staff = template.id.startswith("staff")
    person = staff(rng.randrange(40)) if of_staff else client(int(20_000 * rng.random() ** 1.5))
    if to == "invalid":
        text = rng.choice(_NOBODY)
        return person._replace(address=text, key=text)
    if channel == "sms":
        phone = _texted(int(person.id[2:]) + (40_000 if person.kind == "staff" else 0))
        if to == "whatsapp":
            phone = phone._replace(address=f"whatsapp:{phone.key}", key=f"whatsapp:{phone.key}")
        return person._replace(address=phone.address, key=phone.key)
    return person


def client(number: int) -> Person:
    """Return a client. One in eight writes the address with capitals, as people do; others with a plus or an umlaut."""
    first, last = _FIRST[number % len(_FIRST)], _LAST[number // 3 % len(_LAST)]
    name, id_ = f"{first} {last}", f"c-{number:05}"
    local = f"{first}.{last}{number}".translate(_ASCII)
    if number % 40 == 7:
        return Person("client", id_, name, f"{local}@{_IDN[0]}", f"{local.lower()}@{_IDN[1]}")
    if number % 16 == 3:
        local += "+booking"
    address = f"{local}@{_DOMAINS[number % 4]}"
    return Person("client", id_, name, address if number % 8 == 5 else address.lower(), address.lower())


def staff(number: int) -> Person:
    """Return a member of the staff."""
    first, last = _FIRST[number * 7 % len(_FIRST)], _LAST[number * 5 % len(_LAST)]
    address = f"{first}.{number}@example.com".translate(_ASCII).lower()
    return Person("staff", f"s-{number:03}", f"{first} {last}", address, address)


def own(channel: str, mark: str, *, whatsapp: bool = False) -> Person:
    """Return the client of a mark, which is told from all others by it. One in eight writes the address differently."""
    number = int.from_bytes(sha256(mark.encode()).digest()[:8], "big")
    first, last = _FIRST[number % len(_FIRST)], _LAST[number // 100 % len(_LAST)]
    name, id_ = f"{first} {last}", f"c-{mark}"
    if channel == "email":
        address = f"{first}.{last}.{mark}@example.{('org', 'net')[number % 2]}".translate(_ASCII)
        return Person("client", id_, name, address if number % 8 == 5 else address.lower(), address.lower())
    digits = f"{number % 10**11:011}"
    key, address = f"+999{digits}", f"+999 {digits[:4]} {digits[4:]}"
    if whatsapp:
        key, address = f"whatsapp:{key}", f"whatsapp:{key}"
    return Person("client", id_, name, address if number % 8 == 5 else key, key)


def sender(account_id: str, channel: str, to: Person) -> str:
    """Return from which address or number an account sends to somebody."""
    if channel == "email":
        return f"{account_id.lower()}@example.com"
    prefix = "whatsapp:" if to.key.startswith("whatsapp:") else ""
    return prefix + f"+1{700 + sum(account_id.encode()) % 100}5550199"


def _texted(number: int) -> Person:
    """Return somebody with a phone. One in eight writes the number as one writes numbers."""
    area, last = 201 + number // 100, number % 100
    key = f"+1{area}55501{last:02}"
    address = f"+1 ({area}) 555-01{last:02}" if number % 8 == 5 else key
    first = _FIRST[number % len(_FIRST)]
    return Person("client", f"c-{number:05}", f"{first} {_LAST[number // 3 % len(_LAST)]}", address, key)

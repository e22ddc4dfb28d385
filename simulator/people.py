"""Whom the simulated mails are for and what they are about: recipients, templates, senders.

Everything follows from a number, so that the same person has the same address in every story, and an address that
bounces bounces again.
"""

from typing import Final, NamedTuple

__all__ = ["TEMPLATES", "Person", "Template", "client", "gone_client", "staff"]


class Person(NamedTuple):
    """A recipient."""

    kind: str
    id: str
    name: str
    address: str


class Template(NamedTuple):
    """A kind of mail; `group` is the number of its unsubscribe group at SendGrid, blank where it has none."""

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
_ASCII: Final = str.maketrans("ë", "e")


def client(number: int) -> Person:
    """Return a client. One in eight writes the address with capitals, as people do."""
    first, last = _FIRST[number % len(_FIRST)], _LAST[number // 3 % len(_LAST)]
    address = f"{first}.{last}{number}@{_DOMAINS[number % 4]}".translate(_ASCII)
    return Person("client", f"c-{number:05}", f"{first} {last}", address if number % 8 == 5 else address.lower())


def gone_client(number: int) -> Person:
    """Return a client whose mailbox is no more."""
    first, last = _FIRST[number % len(_FIRST)], _LAST[number % len(_LAST)]
    address = f"{first}.{last}.left{number}@example.{('org', 'net')[number % 2]}".translate(_ASCII).lower()
    return Person("client", f"c-9{number:04}", f"{first} {last}", address)


def staff(number: int) -> Person:
    """Return a member of the staff."""
    first, last = _FIRST[number * 7 % len(_FIRST)], _LAST[number * 5 % len(_LAST)]
    return Person(
        "staff", f"s-{number:03}", f"{first} {last}", f"{first}.{number}@example.com".translate(_ASCII).lower()
    )

"""Recipients, templates and senders of the simulated messages.

Everything follows from a number, so a person has the same address in every message. But an event that can suppress an
address is always about one that no other message and no other plan uses (`unshared_client`): otherwise a decision would
depend on which of two messages was read first. Mail addresses are on domains reserved for examples; phone numbers are
in ranges reserved for fiction, or under +999, a country code that is not assigned.
"""

from hashlib import sha256
from random import Random
from typing import Final, NamedTuple

__all__ = ["TEMPLATES", "Person", "Template", "client", "recipient", "sender", "staff", "unshared_client"]


class Person(NamedTuple):
    """A recipient."""

    kind: str
    id: str
    name: str
    address: str
    """As written in the booking."""
    key: str
    """The form in which the address is compared."""

    @property
    def channel(self) -> str:
        """The channel of the address."""
        return "email" if "@" in self.key else "sms"


class Template(NamedTuple):
    """A message template; `group` is the id of its unsubscribe group at SendGrid, or blank."""

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

_FIRST_NAMES: Final = (
    "Ann", "Ben", "Chloë", "Dev", "Eva", "Finn", "Grete", "Hugo", "Ines", "Jan",
    "Kim", "Lars", "Mia", "Noah", "Olga", "Pia", "Quentin", "Rosa", "Sven", "Zoë",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Abel", "Brandt", "Costa", "Dubois", "Engel", "Fischer", "Garcia", "Huber",
    "Ivanov", "Jensen", "Keller", "Lund", "Moreau", "Novak", "Olsen",
)  # fmt: skip
_DOMAINS: Final = ("example.com", "example.com", "example.org", "example.net")
_IDN: Final = ("Bücher.example", "xn--bcher-kva.example")
"""An internationalized domain as written, and in the form that is compared."""
_ASCII: Final = str.maketrans("ë", "e")
_INVALID_ADDRESSES: Final = ("none", "ann at example.com", "ann@", "0660 123")


def recipient(rng: Random, channel: str, template: Template, to: str, tag: str = "") -> Person:
    """Return a recipient for `template`; `to` as in a `Timeline`. With a `tag`, one that only this message has."""
    if tag:
        return unshared_client(channel, tag, whatsapp=to == "whatsapp")
    if to == "other":
        return client(30_000 + rng.randrange(500))
    of_staff = template.id.startswith("staff")
    person = staff(rng.randrange(40)) if of_staff else client(int(20_000 * rng.random() ** 1.5))
    if to == "invalid":
        text = rng.choice(_INVALID_ADDRESSES)
        return person._replace(address=text, key=text)
    if channel == "sms":
        phone = _phone_client(int(person.id[2:]) + (40_000 if person.kind == "staff" else 0))
        if to == "whatsapp":
            phone = phone._replace(address=f"whatsapp:{phone.key}", key=f"whatsapp:{phone.key}")
        return person._replace(address=phone.address, key=phone.key)
    return person


def client(number: int) -> Person:
    """Return a client. One in eight addresses has capitals; others have a plus tag or an umlaut."""
    first, last = _FIRST_NAMES[number % len(_FIRST_NAMES)], _LAST_NAMES[number // 3 % len(_LAST_NAMES)]
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
    first, last = _FIRST_NAMES[number * 7 % len(_FIRST_NAMES)], _LAST_NAMES[number * 5 % len(_LAST_NAMES)]
    address = f"{first}.{number}@example.com".translate(_ASCII).lower()
    return Person("staff", f"s-{number:03}", f"{first} {last}", address, address)


def unshared_client(channel: str, tag: str, *, whatsapp: bool = False) -> Person:
    """Return the client that only this tag has. One in eight addresses is written in another form."""
    number = int.from_bytes(sha256(tag.encode()).digest()[:8], "big")
    first, last = _FIRST_NAMES[number % len(_FIRST_NAMES)], _LAST_NAMES[number // 100 % len(_LAST_NAMES)]
    name, id_ = f"{first} {last}", f"c-{tag}"
    if channel == "email":
        address = f"{first}.{last}.{tag}@example.{('org', 'net')[number % 2]}".translate(_ASCII)
        return Person("client", id_, name, address if number % 8 == 5 else address.lower(), address.lower())
    digits = f"{number % 10**11:011}"
    key, address = f"+999{digits}", f"+999 {digits[:4]} {digits[4:]}"
    if whatsapp:
        key, address = f"whatsapp:{key}", f"whatsapp:{key}"
    return Person("client", id_, name, address if number % 8 == 5 else key, key)


def sender(account_id: str, channel: str, to: Person) -> str:
    """Return the address or number that an account sends from."""
    if channel == "email":
        return f"{account_id.lower()}@example.com"
    prefix = "whatsapp:" if to.key.startswith("whatsapp:") else ""
    return prefix + f"+1{700 + sum(account_id.encode()) % 100}5550199"


def _phone_client(number: int) -> Person:
    """Return a client with a phone number. One in eight numbers is written with spaces and punctuation."""
    area, last = 201 + number // 100, number % 100
    key = f"+1{area}55501{last:02}"
    address = f"+1 ({area}) 555-01{last:02}" if number % 8 == 5 else key
    first = _FIRST_NAMES[number % len(_FIRST_NAMES)]
    return Person("client", f"c-{number:05}", f"{first} {_LAST_NAMES[number // 3 % len(_LAST_NAMES)]}", address, key)

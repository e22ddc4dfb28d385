"""What the gate decides by (policies, preferences, commands), decoded.

In:  the value of one record of `accounts.policies`, `recipients.preferences` or `suppressions.commands`, and its place.
Out: a `Policy`, `Preference` or `Command`; or `RecordInvalid`, whose record becomes a dead letter.

The published models are in `schemas.policies` and `schemas.suppressions`; tests prove that both accept the same
records and mean the same. What only the log knows is checked here: no time may be a day ahead of its record.
"""

from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from schemas import decoding
from schemas.addresses import address_key
from schemas.decoding import Id
from schemas.events import Place
from schemas.suppressions import EVERYWHERE, MAX_NOTE_CHARACTERS, MAX_REASON_CHARACTERS, MAX_TEXT_CHARACTERS

__all__ = [
    "FOR_EVER",
    "Command",
    "Policy",
    "Preference",
    "decode_command",
    "decode_policy",
    "decode_preference",
]

FOR_EVER: Final = 2**31
"""Days and emails are counted no further: it is millions of years, and what is stored has 64 bits."""


class Policy(NamedTuple):
    """What an account may send. Times are microseconds since 1970, UTC."""

    account_id: str
    trial_started_us: int | None
    billing_entered_us: int | None
    trial_days: int
    trial_email_limit: int
    sms_enabled: bool
    disabled_templates: tuple[str, ...]
    """Ids, in order."""
    invitation_opt_in_enabled: bool
    blocked_since_us: int | None
    blocked_reason: str
    updated_us: int
    updated_at: str
    """As it was written: it names this policy in a decision's evidence."""


class Preference(NamedTuple):
    """What one recipient wishes."""

    account_id: str
    recipient_kind: str
    recipient_id: str
    declined_templates: tuple[str, ...]
    invitation_opted_in: bool
    updated_us: int
    updated_at: str


class Command(NamedTuple):
    """What somebody asks for an address."""

    command_id: str
    action: str
    channel: str
    address: str
    """The address's key."""
    scope: str
    sender: str
    group: str
    reason: str
    actor: str
    note: str
    at_us: int
    place: Place


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Blocked(msgspec.Struct, gc=False):
    reason: str
    since: str


class _Policy(msgspec.Struct):
    account_id: Id
    updated_at: str
    trial_started_at: str | None = None
    billing_entered_at: str | None = None
    trial_days: _Count = 14
    trial_email_limit: _Count = 100
    sms_enabled: bool = False
    disabled_templates: list[Id] = []
    invitation_opt_in_enabled: bool = False
    blocked: _Blocked | None = None


class _Preference(msgspec.Struct):
    account_id: Id
    recipient_kind: Literal["client", "staff"]
    recipient_id: Id
    updated_at: str
    declined_templates: list[Id] = []
    invitation_opted_in: bool = False


class _Command(msgspec.Struct):
    command_id: Id
    action: Literal["suppress", "release", "opt_in"]
    channel: Literal["email", "sms"]
    address: str
    scope: Id
    reason: str
    actor: str
    at: str
    sender: Id | None = None
    group: Id | None = None
    note: str | None = None


_decode_policy: Final = msgspec.json.Decoder(_Policy).decode
_decode_preference: Final = msgspec.json.Decoder(_Preference).decode
_decode_command: Final = msgspec.json.Decoder(_Command).decode


@decoding.decoder
def decode_policy(value: bytes, place: Place) -> Policy:
    """Return the policy of one record of `accounts.policies`. Raises RecordInvalid."""
    raw = _decode_policy(value)
    return Policy(
        decoding.account_id(raw.account_id),
        _time_or_none("trial_started_at", raw.trial_started_at, place),
        _time_or_none("billing_entered_at", raw.billing_entered_at, place),
        min(raw.trial_days, FOR_EVER),
        min(raw.trial_email_limit, FOR_EVER),
        raw.sms_enabled,
        tuple(sorted(set(decoding.id_texts(raw.disabled_templates)))),
        raw.invitation_opt_in_enabled,
        _time_or_none("blocked.since", raw.blocked.since, place) if raw.blocked else None,
        raw.blocked.reason if raw.blocked else "",
        decoding.time_us("updated_at", raw.updated_at, place),
        raw.updated_at,
    )


@decoding.decoder
def decode_preference(value: bytes, place: Place) -> Preference:
    """Return the preference of one record of `recipients.preferences`. Raises RecordInvalid."""
    raw = _decode_preference(value)
    return Preference(
        decoding.account_id(raw.account_id),
        raw.recipient_kind,
        decoding.nonblank("recipient_id", decoding.id_text(raw.recipient_id)),
        tuple(sorted(set(decoding.id_texts(raw.declined_templates)))),
        raw.invitation_opted_in,
        decoding.time_us("updated_at", raw.updated_at, place),
        raw.updated_at,
    )


@decoding.decoder
def decode_command(value: bytes, place: Place) -> Command:
    """Return the command of one record of `suppressions.commands`. Raises RecordInvalid."""
    raw = _decode_command(value)
    return Command(
        _short("command_id", decoding.nonblank("command_id", decoding.id_text(raw.command_id))),
        raw.action,
        raw.channel,
        address_key(decoding.nonblank("address", raw.address), raw.channel),
        _scope(decoding.id_text(raw.scope)),
        _short("sender", decoding.id_or_blank(raw.sender)),
        _short("group", decoding.id_or_blank(raw.group)),
        decoding.at_most("reason", raw.reason, MAX_REASON_CHARACTERS),
        _short("actor", raw.actor),
        decoding.at_most("note", raw.note or "", MAX_NOTE_CHARACTERS),
        decoding.time_us("at", raw.at, place),
        place,
    )


def _short(field: str, text: str) -> str:
    return decoding.at_most(field, text, MAX_TEXT_CHARACTERS)


def _time_or_none(field: str, text: str | None, place: Place) -> int | None:
    return None if text is None else decoding.time_us(field, text, place)


def _scope(text: str) -> str:
    try:
        return text if text == EVERYWHERE else decoding.account_id(text)
    except ValueError as error:
        raise ValueError(f"scope: {error}") from None

"""Decoders of account policies, recipient preferences and suppression commands, on which the gate's decisions depend.

In:  the value of one record of `accounts.policies`, `recipients.preferences` or `suppressions.commands`, and its
     source position.
Out: a `Policy`, `Preference` or `Command`; or `RecordInvalid`, whose record becomes a dead letter.

The published models are in `schemas.policies` and `schemas.suppressions`. Tests prove that both accept the same
records and give them the same meaning. Only here it is also checked that no time is more than a day ahead of the
record's Kafka timestamp.
"""

from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from schemas.decoding import checks
from schemas.decoding.addresses import address_key
from schemas.decoding.checks import Id
from schemas.decoding.ids import ALL
from schemas.events import SourcePosition
from schemas.suppressions import MAX_NOTE_CHARACTERS, MAX_REASON_CHARACTERS, MAX_TEXT_CHARACTERS

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
"""The maximum that is kept of a number of days or emails: millions of years. What is stored has 64 bits."""


class Policy(NamedTuple):
    """What an account may send. Times are microseconds since 1970, UTC."""

    account_id: str
    trial_started_us: int | None
    billing_entered_us: int | None
    trial_days: int
    trial_email_limit: int
    sms_enabled: bool
    disabled_templates: tuple[str, ...]
    """Ids, sorted and unique."""
    invitation_opt_in_enabled: bool
    blocked_since_us: int | None
    blocked_reason: str
    updated_us: int
    updated_at: str
    """The time as it was written: it identifies this policy in a decision's evidence."""


class Preference(NamedTuple):
    """The preferences of one recipient."""

    account_id: str
    recipient_kind: str
    recipient_id: str
    declined_templates: tuple[str, ...]
    invitation_opted_in: bool
    updated_us: int
    updated_at: str


class Command(NamedTuple):
    """A command to suppress or release an address, or to lift its opt-outs."""

    command_id: str
    action: str
    channel: str
    address: str
    """The address key."""
    scope: str
    sender: str
    group: str
    reason: str
    actor: str
    note: str
    at_us: int
    source: SourcePosition


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


@checks.decoder
def decode_policy(value: bytes, source: SourcePosition) -> Policy:
    """Return the policy of one record of `accounts.policies`. Raises RecordInvalid."""
    raw = _decode_policy(value)
    return Policy(
        checks.account_id(raw.account_id),
        _time_or_none("trial_started_at", raw.trial_started_at, source),
        _time_or_none("billing_entered_at", raw.billing_entered_at, source),
        min(raw.trial_days, FOR_EVER),
        min(raw.trial_email_limit, FOR_EVER),
        raw.sms_enabled,
        tuple(sorted(set(checks.id_texts(raw.disabled_templates)))),
        raw.invitation_opt_in_enabled,
        _time_or_none("blocked.since", raw.blocked.since, source) if raw.blocked else None,
        raw.blocked.reason if raw.blocked else "",
        checks.time_us("updated_at", raw.updated_at, source),
        raw.updated_at,
    )


@checks.decoder
def decode_preference(value: bytes, source: SourcePosition) -> Preference:
    """Return the preference of one record of `recipients.preferences`. Raises RecordInvalid."""
    raw = _decode_preference(value)
    return Preference(
        checks.account_id(raw.account_id),
        raw.recipient_kind,
        checks.nonblank("recipient_id", checks.id_text(raw.recipient_id)),
        tuple(sorted(set(checks.id_texts(raw.declined_templates)))),
        raw.invitation_opted_in,
        checks.time_us("updated_at", raw.updated_at, source),
        raw.updated_at,
    )


@checks.decoder
def decode_command(value: bytes, source: SourcePosition) -> Command:
    """Return the command of one record of `suppressions.commands`. Raises RecordInvalid."""
    raw = _decode_command(value)
    return Command(
        _short("command_id", checks.nonblank("command_id", checks.id_text(raw.command_id))),
        raw.action,
        raw.channel,
        address_key(checks.nonblank("address", raw.address), raw.channel),
        _scope(checks.id_text(raw.scope)),
        _short("sender", checks.id_or_blank(raw.sender)),
        _short("group", checks.id_or_blank(raw.group)),
        checks.at_most("reason", raw.reason, MAX_REASON_CHARACTERS),
        _short("actor", raw.actor),
        checks.at_most("note", raw.note or "", MAX_NOTE_CHARACTERS),
        checks.time_us("at", raw.at, source),
        source,
    )


def _short(field: str, text: str) -> str:
    return checks.at_most(field, text, MAX_TEXT_CHARACTERS)


def _time_or_none(field: str, text: str | None, source: SourcePosition) -> int | None:
    return None if text is None else checks.time_us(field, text, source)


def _scope(text: str) -> str:
    try:
        return text if text == ALL else checks.account_id(text)
    except ValueError as error:
        raise ValueError(f"scope: {error}") from None

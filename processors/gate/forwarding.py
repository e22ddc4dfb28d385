"""What the gate's parts tell each other, as records of its internal topics.

In:  requests, evidence, policies and preferences. Out: records of bytes, and what they hold, decoded again.
All of it is decoded and judged once, on the way in. A request goes on as the bytes of what was read in it, with the
place and time of its record, so that its address needs not be told more than whose it is.
"""

from typing import Final

import msgspec

from processors.engine import Output, Record
from projections.gate.addressing import AddressKey
from projections.gate.evidence import Addressed, Evidence
from projections.gate.rows import REQUEST, Codec
from projections.gate.suppression import SuppressionView
from schemas.facts import Request
from schemas.gate_facts import Policy, Preference
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS

__all__ = [
    "TO_ACCOUNT",
    "TO_ADDRESS",
    "Asked",
    "PolicySaid",
    "PreferenceSaid",
    "Said",
    "Screened",
    "asked",
    "kind_of",
    "policy_said",
    "preference_said",
    "said_of_address",
    "screened",
]


class Asked(msgspec.Struct, frozen=True, array_like=True, tag="asked"):
    """A request, on its way to the address of its To."""

    account_id: str
    request: bytes
    """A row of `REQUEST`."""


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    """Evidence, on its way to its address."""

    evidence: Evidence


class Screened(msgspec.Struct, frozen=True, array_like=True, tag="screened"):
    """A request and what holds for its address, on its way to its account."""

    view: SuppressionView
    request: bytes
    """A row of `REQUEST`."""


class PolicySaid(msgspec.Struct, frozen=True, array_like=True, tag="policy"):
    """A policy, on its way to its account."""

    policy: Policy


class PreferenceSaid(msgspec.Struct, frozen=True, array_like=True, tag="preference"):
    """A preference, on its way to its account."""

    preference: Preference


TO_ADDRESS: Final = Codec[Asked | Said](Asked | Said)
TO_ACCOUNT: Final = Codec[Screened | PolicySaid | PreferenceSaid](Screened | PolicySaid | PreferenceSaid)


def kind_of(record: Record) -> bytes:
    """Return the tag of what was forwarded, without decoding it: the first text of a MessagePack list."""
    value = record.value or b""
    return value[3 : 3 + (value[2] & 0x1F)] if len(value) > 2 else b""


def asked(request: Request) -> Output:
    """Return a request on its way to the address of its To."""
    key = AddressKey(request.channel, request.to_key)
    return _to_address(key, Asked(request.account_id, REQUEST.encode(request)))


def said_of_address(addressed: Addressed) -> Output:
    """Return evidence on its way to its address."""
    return _to_address(addressed.key, Said(addressed.evidence))


def policy_said(policy: Policy) -> Output:
    """Return a policy on its way to its account."""
    return _to_account(policy.account_id, PolicySaid(policy))


def preference_said(preference: Preference) -> Output:
    """Return a preference on its way to its account."""
    return _to_account(preference.account_id, PreferenceSaid(preference))


def screened(request: Asked, view: SuppressionView) -> Output:
    """Return a request on its way to its account, with what holds for its address."""
    return _to_account(request.account_id, Screened(view, request.request))


def _to_address(key: AddressKey, value: Asked | Said) -> Output:
    return Output(GATE_BY_ADDRESS.name, str(key).encode(), TO_ADDRESS.encode(value))


def _to_account(account_id: str, value: Screened | PolicySaid | PreferenceSaid) -> Output:
    return Output(GATE_BY_ACCOUNT.name, account_id.encode(), TO_ACCOUNT.encode(value))

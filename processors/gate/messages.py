"""The messages between the gate's intake and its two agents: records of the gate's internal topics.

In:  requests, evidence, policies and preferences. Out: records as bytes, and the messages decoded from them.
Everything is decoded and validated once, by the intake. A request travels as an encoded `Request` with the position and
time of its record, so that the agent by address needs nothing of it but the account.

The tags and the order of fields are in the records: they don't change with the names of the classes.
"""

from typing import Final

import msgspec

from processors.engine import Output, Record
from projections.decisions.rows import REQUEST
from projections.suppressions.addressing import AddressKey
from projections.suppressions.evidence import AddressEvidence, Evidence
from projections.suppressions.state import AddressSnapshot
from projections.versioned_codec import VersionedCodec
from schemas.decoding.gate_inputs import Policy, Preference
from schemas.decoding.sends import Request
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS

__all__ = [
    "TO_ACCOUNT",
    "TO_ADDRESS",
    "EvidenceMessage",
    "PolicyMessage",
    "PreferenceMessage",
    "ScreenRequest",
    "ScreenedRequest",
    "evidence_message",
    "message_kind",
    "policy_message",
    "preference_message",
    "screen_request",
    "screened_request",
]


class ScreenRequest(msgspec.Struct, frozen=True, array_like=True, tag="asked"):
    """A request on its way to the address of its To."""

    account_id: str
    request: bytes
    """Encoded by `REQUEST`."""


class EvidenceMessage(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    """Evidence on its way to its address."""

    evidence: Evidence


class ScreenedRequest(msgspec.Struct, frozen=True, array_like=True, tag="screened"):
    """A request on its way to its account, with the snapshot of its address."""

    snapshot: AddressSnapshot
    request: bytes
    """Encoded by `REQUEST`."""


class PolicyMessage(msgspec.Struct, frozen=True, array_like=True, tag="policy"):
    """A policy on its way to its account."""

    policy: Policy


class PreferenceMessage(msgspec.Struct, frozen=True, array_like=True, tag="preference"):
    """A preference on its way to its account."""

    preference: Preference


_ToAddress = ScreenRequest | EvidenceMessage
_ToAccount = ScreenedRequest | PolicyMessage | PreferenceMessage

TO_ADDRESS: Final = VersionedCodec[_ToAddress](_ToAddress)
TO_ACCOUNT: Final = VersionedCodec[_ToAccount](_ToAccount)


def message_kind(record: Record) -> bytes:
    """Return the tag of a message without decoding it: the first text of a MessagePack list."""
    value = record.value or b""
    return value[3 : 3 + (value[2] & 0x1F)] if len(value) > 2 else b""


def screen_request(request: Request) -> Output:
    """Return the message that asks for the snapshot of a request's To."""
    key = AddressKey(request.channel, request.to_key)
    return _to_address(key, ScreenRequest(request.account_id, REQUEST.encode(request)))


def evidence_message(found: AddressEvidence) -> Output:
    """Return the message that brings evidence to its address."""
    return _to_address(found.key, EvidenceMessage(found.evidence))


def policy_message(policy: Policy) -> Output:
    """Return the message that brings a policy to its account."""
    return _to_account(policy.account_id, PolicyMessage(policy))


def preference_message(preference: Preference) -> Output:
    """Return the message that brings a preference to its account."""
    return _to_account(preference.account_id, PreferenceMessage(preference))


def screened_request(request: ScreenRequest, snapshot: AddressSnapshot) -> Output:
    """Return the message that brings a request and the snapshot of its To to the account."""
    return _to_account(request.account_id, ScreenedRequest(snapshot, request.request))


def _to_address(key: AddressKey, value: _ToAddress) -> Output:
    return Output(GATE_BY_ADDRESS.name, str(key).encode(), TO_ADDRESS.encode(value))


def _to_account(account_id: str, value: _ToAccount) -> Output:
    return Output(GATE_BY_ACCOUNT.name, account_id.encode(), TO_ACCOUNT.encode(value))

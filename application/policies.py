"""The whole records by which the gate decides about an account: its policy, and what its recipients wish.

In:  a record as JSON has it, without what its address says already; who asks, and when.
Out: its bytes as they are in the log, the defaults filled in; each replaces the one before, also in what it omits. And
back: the record with the latest `updated_at`, a moment after it was written.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from application.checking import checked
from application.errors import FieldsInvalid, ValidationFault
from application.principals import Principal, must_cover
from application.writing import Kafka, Written, write
from projections.accounts import queries
from projections.messages.queries import Query
from projections.store import Store
from schemas.errors import RequestError
from schemas.events import Place
from schemas.gate_facts import Policy, Preference, decode_policy, decode_preference
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import Record, id_text
from schemas.times import SECOND_US, rfc3339
from schemas.topics import ACCOUNTS_POLICIES, RECIPIENTS_PREFERENCES, Topic

__all__ = ["MAX_RECORD_BYTES", "policy_of", "preference_of", "set_policy", "set_preference"]

K = TypeVar("K", bound=Record)

MAX_RECORD_BYTES: Final = 1024 * 1024
MAX_AHEAD_US: Final = 60 * SECOND_US


async def set_policy(
    kafka: Kafka, principal: Principal, account_id: str, fields: Mapping[str, Any], now_us: int
) -> bytes:
    """Write the whole policy of an account, and return it.

    Raises RequestError (`no-such-account`, or FieldsInvalid), TimedOut, BrokerError and RecordRefused.
    """
    must_cover(principal, account_id)
    whole = _whole(fields, {"account_id": account_id}, now_us)
    value = _checked(AccountPolicy, whole, ACCOUNTS_POLICIES, decode_policy, now_us)
    await write(kafka, [Written.by(principal.subject, ACCOUNTS_POLICIES, account_id, value)])
    return value


async def set_preference(
    kafka: Kafka,
    principal: Principal,
    account_id: str,
    recipient_kind: str,
    recipient_id: str,
    fields: Mapping[str, Any],
    now_us: int,
) -> bytes:
    """Write all that a recipient wishes, and return it. Raises as `set_policy` does."""
    must_cover(principal, account_id)
    named = {"account_id": account_id, "recipient_kind": recipient_kind, "recipient_id": recipient_id}
    whole = _whole(fields, named, now_us)
    value = _checked(RecipientPreference, whole, RECIPIENTS_PREFERENCES, decode_preference, now_us)
    key = "/".join(named.values())
    await write(kafka, [Written.by(principal.subject, RECIPIENTS_PREFERENCES, key, value)])
    return value


def policy_of(store: Store, principal: Principal, account_id: str) -> AccountPolicy:
    """Return the policy in force. Raises RequestError (`no-such-record` where none was written), or StoreError."""
    must_cover(principal, account_id)
    return _latest(store, AccountPolicy, queries.policy(account_id))


def preference_of(
    store: Store, principal: Principal, account_id: str, recipient_kind: str, recipient_id: str
) -> RecipientPreference:
    """Return what a recipient wishes. Raises as `policy_of` does."""
    must_cover(principal, account_id)
    return _latest(store, RecipientPreference, queries.preference(account_id, recipient_kind, recipient_id))


def _whole(fields: Mapping[str, Any], named: Mapping[str, str], now_us: int) -> dict[str, Any]:
    """The record of the fields, and of what its address names. Raises FieldsInvalid where the two disagree."""
    faults = [
        ValidationFault(field, "must be what the path says, or be left out")
        for field, value in named.items()
        if id_text(fields.get(field)) not in (None, value)
    ]
    if faults:
        raise FieldsInvalid(faults)
    updated_at = fields.get("updated_at")
    return {**fields, **named, "updated_at": rfc3339(now_us) if updated_at is None else updated_at}


def _checked(
    kind: type[AccountPolicy] | type[RecipientPreference],
    whole: dict[str, Any],
    topic: Topic,
    decode: Callable[[bytes, Place], Policy | Preference],
    now_us: int,
) -> bytes:
    """The bytes of a record. Raises FieldsInvalid.

    The one with the latest `updated_at` counts, so one from the future would outrank all that is written until then.
    """
    good = checked(kind, whole, topic, decode, now_us=now_us, max_bytes=MAX_RECORD_BYTES)
    if good.decoded.updated_us > now_us + MAX_AHEAD_US:
        problem = f"must be at most {MAX_AHEAD_US // SECOND_US} s ahead of now"
        raise FieldsInvalid([ValidationFault("updated_at", problem)])
    return good.value


def _latest(store: Store, kind: type[K], query: Query) -> K:
    rows = store.rows(query.sql, query.parameters)
    if not rows:
        said = "No record has been written; the defaults apply"
        raise RequestError(said, "the record", "Write it; until then the defaults hold", code="no-such-record")
    return kind.model_validate_json(rows[0]["record"])

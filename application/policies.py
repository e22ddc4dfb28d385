"""Account policies and recipient preferences: the records by which the gate decides.

In:  a record as JSON, without the ids that its path has; the principal, and the time.
Out: its bytes in Kafka, with defaults filled in. Each record replaces the previous one completely: omitted fields get
their defaults. Reading returns the record with the latest `updated_at`, shortly after it was written.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from application.errors import FieldsInvalid, ValidationFault
from application.principals import Principal, require_account_access
from application.validation import validate_record
from application.writing import OutgoingRecord, write
from processors.kafka.ports import RecordProducer
from projections.accounts import queries
from projections.messages.queries import Query
from projections.store import Store
from schemas.decoding.gate_inputs import Policy, Preference, decode_policy, decode_preference
from schemas.decoding.times import SECOND_US, rfc3339
from schemas.errors import RequestError
from schemas.events import SourcePosition
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import Record, id_text
from schemas.topics import ACCOUNTS_POLICIES, RECIPIENTS_PREFERENCES, Topic

__all__ = ["MAX_RECORD_BYTES", "policy_of", "preference_of", "set_policy", "set_preference"]

K = TypeVar("K", bound=Record)

MAX_RECORD_BYTES: Final = 1024 * 1024
MAX_AHEAD_US: Final = 60 * SECOND_US


async def set_policy(
    kafka: RecordProducer, principal: Principal, account_id: str, fields: Mapping[str, Any], now_us: int
) -> bytes:
    """Write the policy of an account, replacing the previous one, and return it.

    Raises RequestError (`no-such-account`, or FieldsInvalid), TimedOut, BrokerError and RecordRefused.
    """
    require_account_access(principal, account_id)
    fields_with_ids = _complete_record(fields, {"account_id": account_id}, now_us)
    value = _validated(AccountPolicy, fields_with_ids, ACCOUNTS_POLICIES, decode_policy, now_us)
    await write(kafka, [OutgoingRecord.by_actor(principal.subject, ACCOUNTS_POLICIES, account_id, value)])
    return value


async def set_preference(
    kafka: RecordProducer,
    principal: Principal,
    account_id: str,
    recipient_kind: str,
    recipient_id: str,
    fields: Mapping[str, Any],
    now_us: int,
) -> bytes:
    """Write the preference of a recipient, replacing the previous one, and return it. Raises as `set_policy` does."""
    require_account_access(principal, account_id)
    path_ids = {"account_id": account_id, "recipient_kind": recipient_kind, "recipient_id": recipient_id}
    fields_with_ids = _complete_record(fields, path_ids, now_us)
    value = _validated(RecipientPreference, fields_with_ids, RECIPIENTS_PREFERENCES, decode_preference, now_us)
    key = "/".join(path_ids.values())
    await write(kafka, [OutgoingRecord.by_actor(principal.subject, RECIPIENTS_PREFERENCES, key, value)])
    return value


def policy_of(store: Store, principal: Principal, account_id: str) -> AccountPolicy:
    """Return the policy in force. Raises RequestError (`no-such-record` where none was written), or StoreError."""
    require_account_access(principal, account_id)
    return _latest(store, AccountPolicy, queries.policy(account_id))


def preference_of(
    store: Store, principal: Principal, account_id: str, recipient_kind: str, recipient_id: str
) -> RecipientPreference:
    """Return the preference of a recipient. Raises as `policy_of` does."""
    require_account_access(principal, account_id)
    return _latest(store, RecipientPreference, queries.preference(account_id, recipient_kind, recipient_id))


def _complete_record(fields: Mapping[str, Any], path_ids: Mapping[str, str], now_us: int) -> dict[str, Any]:
    """The record: the fields, the ids of the path, and a time. Raises FieldsInvalid where fields and path disagree."""
    faults = [
        ValidationFault(field, "must be what the path says, or be left out")
        for field, value in path_ids.items()
        if id_text(fields.get(field)) not in (None, value)
    ]
    if faults:
        raise FieldsInvalid(faults)
    updated_at = fields.get("updated_at")
    return {**fields, **path_ids, "updated_at": rfc3339(now_us) if updated_at is None else updated_at}


def _validated(
    kind: type[AccountPolicy] | type[RecipientPreference],
    fields_with_ids: dict[str, Any],
    topic: Topic,
    decode: Callable[[bytes, SourcePosition], Policy | Preference],
    now_us: int,
) -> bytes:
    """The bytes of a record. Raises FieldsInvalid.

    The record with the latest `updated_at` wins, so one from the future would override all that are written until then.
    """
    valid = validate_record(kind, fields_with_ids, topic, decode, now_us=now_us, max_bytes=MAX_RECORD_BYTES)
    if valid.decoded.updated_us > now_us + MAX_AHEAD_US:
        problem = f"must be at most {MAX_AHEAD_US // SECOND_US} s ahead of now"
        raise FieldsInvalid([ValidationFault("updated_at", problem)])
    return valid.value


def _latest(store: Store, kind: type[K], query: Query) -> K:
    rows = store.rows(query.sql, query.parameters)
    if not rows:
        what = "No record has been written; the defaults apply"
        raise RequestError(what, "the record", "Write it; until then the defaults hold", code="no-such-record")
    return kind.model_validate_json(rows[0]["record"])

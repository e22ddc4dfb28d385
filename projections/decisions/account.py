"""What the gate remembers of accounts, so that a message is decided once.

In:  policies, preferences and screened requests, in the order in which they are read.
Out: a `DecisionResult` for each request: its decision, or for a repeated message the first decision again.
Promise: no clock and no I/O; the same input in the same order gives the same results. The quota is exact: a message
counts once, however often it is requested, and a decision that was not written has used nothing.

The state is rows of bytes, as they stand in a changelog. One run of records works on top of them and collects in
`changes` what has to be written.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from projections.decisions.decide import decide
from projections.decisions.published import RequestFields, decision_value
from projections.decisions.rows import (
    DECISION,
    POLICY,
    PREFERENCE,
    RUN,
    RUNS,
    USAGE,
    RememberedDecision,
    Run,
    Runs,
)
from projections.decisions.trial import UNUSED, Usage
from projections.suppressions.rules import GateRules
from projections.suppressions.state import AddressSnapshot
from projections.versioned_codec import VersionedCodec
from schemas.decoding.gate_inputs import Policy, Preference
from schemas.decoding.ids import sent_at_us
from schemas.decoding.sends import Request

__all__ = [
    "MAX_FORGOTTEN_PER_RUN",
    "MAX_REMEMBERED_BYTES",
    "Accounts",
    "DecisionResult",
    "decide_once",
    "decision_key",
    "in_force",
    "precedence",
]

MAX_REMEMBERED_BYTES: Final = 4096
"""Of a larger request only the hash is remembered. If it is repeated with other content, it gets no decision."""
MAX_FORGOTTEN_PER_RUN: Final = 1_000
"""A run that has forgotten this many decisions leaves the rest to the next run."""

T = TypeVar("T")
PolicyOrPreference = TypeVar("PolicyOrPreference", Policy, Preference)


class DecisionResult(NamedTuple):
    """The decision about a message, made now or when it was first requested."""

    remembered: RememberedDecision
    repeated: bool
    value: bytes | None
    """The value for `sends.decided`. None for a repeated message whose first request was too large to be remembered
    and differs from this one: the first decision stands, but can't be published without its request."""


def in_force(known: PolicyOrPreference | None, other: PolicyOrPreference) -> PolicyOrPreference:
    """Return the policy or preference in force: the one updated last; of two with the same time the greater bytes."""
    if known is None:
        return other
    return max(known, other, key=precedence)


def precedence(entry: Policy | Preference) -> tuple[int, bytes]:
    """Return the sort key of policies or preferences: the greatest is in force."""
    return entry.updated_us, msgspec.msgpack.encode(entry)


def decide_once(
    request: Request,
    address: AddressSnapshot,
    policy: Policy | None,
    preference: Preference | None,
    usage: Usage,
    first: RememberedDecision | None,
    *,
    decided_us: int,
    rules: GateRules,
) -> DecisionResult:
    """Return the decision of a message that was not decided before; else its `first` decision again."""
    fields = RequestFields.of(request)
    if first is None:
        verdict = decide(request, policy, preference, address, usage, rules=rules)
        short = len(request.extra) <= MAX_REMEMBERED_BYTES
        remembered = RememberedDecision(
            decided_us, verdict, fields if short else None, "" if short else request.content_hash
        )
        return DecisionResult(remembered, repeated=False, value=_value(request, remembered, fields))
    decided = first.request or (fields if request.content_hash == first.content_hash else None)
    return DecisionResult(first, repeated=True, value=decided and _value(request, first, decided))


def _value(request: Request, remembered: RememberedDecision, fields: RequestFields) -> bytes:
    ids = (request.account_id, request.message_id)
    return decision_value(*ids, remembered.verdict, remembered.decided_us, fields)


class Accounts:
    """The accounts of one partition, with the changes of one run of records on top of the written rows.

    The rows of an account are its policy, its usage, its preferences and its decisions. In addition each run that
    decided something writes a row with the keys of its decisions, numbered in order: so expired decisions are found
    without looking at the others.
    """

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        """`rows` are the written rows; they are not changed."""
        self._rows = rows
        self.changes: dict[bytes, bytes | None] = {}
        """What this run has to write; None deletes a row."""
        self._decided: list[bytes] = []
        self._last_us = 0

    def take_policy(self, policy: Policy) -> None:
        """Take in a policy; it applies to requests that are read after it."""
        key = _key(policy.account_id, _POLICY)
        self._write(key, POLICY, in_force(self._read(key, POLICY), policy))

    def take_preference(self, preference: Preference) -> None:
        """Take in a preference; it applies to requests that are read after it."""
        key = _preference_key(preference.account_id, preference.recipient_kind, preference.recipient_id)
        self._write(key, PREFERENCE, in_force(self._read(key, PREFERENCE), preference))

    def decide(
        self, request: Request, address: AddressSnapshot, *, decided_us: int, rules: GateRules
    ) -> DecisionResult:
        """Return the decision about a request, and remember it. `address` is the snapshot of its To."""
        account_id, key = request.account_id, decision_key(request.account_id, request.message_id)
        usage_key = _key(account_id, _USAGE)
        usage = self._read(usage_key, USAGE) or UNUSED
        result = decide_once(
            request,
            address,
            self._read(_key(account_id, _POLICY), POLICY),
            self._read(_preference_key(account_id, request.recipient_kind, request.recipient_id), PREFERENCE),
            usage,
            self._read(key, DECISION),
            decided_us=decided_us,
            rules=rules,
        )
        if not result.repeated:
            self._write(key, DECISION, result.remembered)
            self._decided.append(key)
            self._last_us = max(self._last_us, sent_at_us(request.message_id))
            if result.remembered.verdict.trial_us is not None:
                self._write(usage_key, USAGE, result.remembered.verdict.usage_after(usage))
        return result

    def end_run(self, record_us: int, rules: GateRules) -> None:
        """Note what the run decided, and forget decisions that no valid request can ask for again.

        `record_us` is the time of a request's record. A run forgets a bounded number of decisions, so that no run takes
        long. It is more than a run decides, so that the backlog shrinks.
        """
        runs = self._read(_RUNS, RUNS)
        first, following = runs or Runs(0, 0)
        if self._decided:
            self._write(_run_key(following), RUN, Run(self._last_us, tuple(self._decided)))
            following += 1
        forgotten = 0
        while first < following and forgotten < MAX_FORGOTTEN_PER_RUN:
            run = self._read(_run_key(first), RUN)
            if run is None or run.last_us >= rules.forgotten_before_us(record_us):
                break
            self.changes.update(dict.fromkeys([*run.decisions, _run_key(first)]))
            forgotten += len(run.decisions)
            first += 1
        if following:
            self._write(_RUNS, RUNS, Runs(first, following))

    def _read(self, key: bytes, codec: VersionedCodec[T]) -> T | None:
        row = self.changes[key] if key in self.changes else self._rows.get(key)
        return None if row is None else codec.decode(row)

    def _write(self, key: bytes, codec: VersionedCodec[T], value: T) -> None:
        row = codec.encode(value)
        if row != self.changes.get(key, self._rows.get(key)):
            self.changes[key] = row


_POLICY: Final = b"policy"
_USAGE: Final = b"usage"
_RUNS: Final = b"\x00runs"  # belongs to no account: an account id is never empty


def decision_key(account_id: str, message_id: str) -> bytes:
    """Return the key of a decision's row. The message id takes 16 bytes in it, since there are millions of rows."""
    return _key(account_id, b"#" + bytes.fromhex(message_id.replace("-", "")))


def _preference_key(account_id: str, recipient_kind: str, recipient_id: str) -> bytes:
    return _key(account_id, f"preference/{recipient_kind}/{recipient_id}".encode())


def _run_key(number: int) -> bytes:
    return b"\x00run/%d" % number


def _key(account_id: str, name: bytes) -> bytes:
    return account_id.encode() + b"\x00" + name

"""What the gate remembers of accounts, and the promise that a message is decided once.

In:  policies, preferences and screened requests, in the order in which they are read.
Out: an `Answer` for each request: the decision, or for a repeated message its first one again.
Promise: no clock and no I/O; the same input in the same order gives the same answers. The quota is exact: a message
uses it once, however often it is asked for, and what was not written was never used.

The memory is rows of bytes, as they stand in a changelog. A run of records works above them, and `changes` is what has
to be written of it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from projections.gate.decide import decide
from projections.gate.published import Written, decision_value
from projections.gate.rows import POLICY, PREFERENCE, REMEMBERED, RUN, RUNS, USAGE, Codec, Remembered, Run, Runs
from projections.gate.rules import Rules
from projections.gate.suppression import SuppressionView
from projections.gate.trial import UNUSED, Usage
from schemas.facts import Request
from schemas.gate_facts import Policy, Preference
from schemas.identity import sent_at_us

__all__ = ["FORGOTTEN_AT_ONCE", "REMEMBERED_BYTES", "Accounts", "Answer", "answer", "decision_key", "later", "rank"]

REMEMBERED_BYTES: Final = 4096
"""A request of more is not remembered, only its hash. So one that is repeated with another content stays unanswered."""
FORGOTTEN_AT_ONCE: Final = 1_000
"""Decisions after which a run leaves the rest to the next one."""

T = TypeVar("T")
Wish = TypeVar("Wish", Policy, Preference)


class Answer(NamedTuple):
    """What is decided of a message, now or when it was first asked for."""

    remembered: Remembered
    repeated: bool
    value: bytes | None
    """The record of `sends.decided`. None for a repeated message whose first request was too large to be remembered,
    and is another than this one: what was told first stands, and can't be told again."""


def later(known: Wish | None, said: Wish) -> Wish:
    """Return the policy or preference in force: the one updated last; of one moment, the greater in bytes."""
    if known is None:
        return said
    return max(known, said, key=rank)


def rank(wish: Policy | Preference) -> tuple[int, bytes]:
    """Return what says which of two is in force: the greater is."""
    return wish.updated_us, msgspec.msgpack.encode(wish)


def answer(
    request: Request,
    address: SuppressionView,
    policy: Policy | None,
    preference: Preference | None,
    usage: Usage,
    first: Remembered | None,
    *,
    decided_us: int,
    rules: Rules,
) -> Answer:
    """Return the decision of a message that was not decided before; else the `first` one again."""
    written = Written.of(request)
    if first is None:
        verdict = decide(request, policy, preference, address, usage, rules=rules)
        short = len(request.extra) <= REMEMBERED_BYTES
        remembered = Remembered(decided_us, verdict, written if short else None, "" if short else request.content_hash)
        return Answer(remembered, repeated=False, value=_value(request, remembered, written))
    decided = first.written or (written if request.content_hash == first.content_hash else None)
    return Answer(first, repeated=True, value=decided and _value(request, first, decided))


def _value(request: Request, remembered: Remembered, written: Written) -> bytes:
    ids = (request.account_id, request.message_id)
    return decision_value(*ids, remembered.verdict, remembered.decided_us, written)


class Accounts:
    """The memory of a partition's accounts, with the changes of one run of records above it.

    The rows of an account are its policy, its usage, its preferences and its decisions. Beside them each run that
    decided leaves a row with the keys of its decisions, numbered in order: so what is to be forgotten is found without
    a look at what is not.
    """

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        """`rows` are what is written; they are not changed."""
        self._rows = rows
        self.changes: dict[bytes, bytes | None] = {}
        """What has to be written of the run; None for a row that is to be deleted."""
        self._decided: list[bytes] = []
        self._last_us = 0

    def take_policy(self, policy: Policy) -> None:
        """Take in a policy; it counts for what is read after it."""
        key = _key(policy.account_id, _POLICY)
        self._write(key, POLICY, later(self._read(key, POLICY), policy))

    def take_preference(self, preference: Preference) -> None:
        """Take in a preference; it counts for what is read after it."""
        key = _preference_key(preference.account_id, preference.recipient_kind, preference.recipient_id)
        self._write(key, PREFERENCE, later(self._read(key, PREFERENCE), preference))

    def decide(self, request: Request, address: SuppressionView, *, decided_us: int, rules: Rules) -> Answer:
        """Return the answer to a request, and remember it. `address` is what holds for its To."""
        account_id, key = request.account_id, decision_key(request.account_id, request.message_id)
        usage_key = _key(account_id, _USAGE)
        usage = self._read(usage_key, USAGE) or UNUSED
        given = answer(
            request,
            address,
            self._read(_key(account_id, _POLICY), POLICY),
            self._read(_preference_key(account_id, request.recipient_kind, request.recipient_id), PREFERENCE),
            usage,
            self._read(key, REMEMBERED),
            decided_us=decided_us,
            rules=rules,
        )
        if not given.repeated:
            self._write(key, REMEMBERED, given.remembered)
            self._decided.append(key)
            self._last_us = max(self._last_us, sent_at_us(request.message_id))
            if given.remembered.verdict.trial_us is not None:
                self._write(usage_key, USAGE, given.remembered.verdict.usage_after(usage))
        return given

    def end_run(self, record_us: int, rules: Rules) -> None:
        """Note what the run decided, and forget decisions that no valid request can ask for again.

        `record_us`: the time of a request's record. Of what is to be forgotten a run takes a share, so that no run is
        long; as it takes more than one run's decisions at least, the rest grows less.
        """
        runs = self._read(_RUNS, RUNS)
        first, following = runs or Runs(0, 0)
        if self._decided:
            self._write(_run_key(following), RUN, Run(self._last_us, tuple(self._decided)))
            following += 1
        forgotten = 0
        while first < following and forgotten < FORGOTTEN_AT_ONCE:
            run = self._read(_run_key(first), RUN)
            if run is None or run.last_us >= rules.forgotten_before_us(record_us):
                break
            self.changes.update(dict.fromkeys([*run.decisions, _run_key(first)]))
            forgotten += len(run.decisions)
            first += 1
        if following:
            self._write(_RUNS, RUNS, Runs(first, following))

    def _read(self, key: bytes, codec: Codec[T]) -> T | None:
        row = self.changes[key] if key in self.changes else self._rows.get(key)
        return None if row is None else codec.decode(row)

    def _write(self, key: bytes, codec: Codec[T], value: T) -> None:
        row = codec.encode(value)
        if row != self.changes.get(key, self._rows.get(key)):
            self.changes[key] = row


_POLICY: Final = b"policy"
_USAGE: Final = b"usage"
_RUNS: Final = b"\x00runs"  # no account's: an account id is no empty text


def decision_key(account_id: str, message_id: str) -> bytes:
    """Return the key of a decision's row: of a message id its 16 bytes, since there are millions."""
    return _key(account_id, b"#" + bytes.fromhex(message_id.replace("-", "")))


def _preference_key(account_id: str, recipient_kind: str, recipient_id: str) -> bytes:
    return _key(account_id, f"preference/{recipient_kind}/{recipient_id}".encode())


def _run_key(number: int) -> bytes:
    return b"\x00run/%d" % number


def _key(account_id: str, name: bytes) -> bytes:
    return account_id.encode() + b"\x00" + name

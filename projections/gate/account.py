"""What the gate remembers of one account, and the promise that a message is decided once.

In:  policies, preferences and screened requests, in the order in which they are read.
Out: an `Answer` for each request: the decision, or for a repeated message its first one again.
Promise: no clock and no I/O; the same input in the same order gives the same answers. The quota is exact: a message
uses it once, however often it is asked for, and what was not settled was never used.

The memory is rows of bytes, as they stand in a changelog. A batch works above them: `changes` is what has to be
written, `settle` takes it in once it is, `discard` drops it if it can't be.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from projections.gate.decide import decide
from projections.gate.published import Written, decision_value
from projections.gate.rows import POLICY, PREFERENCE, REMEMBERED, USAGE, Codec, Remembered
from projections.gate.rules import Rules
from projections.gate.suppression import SuppressionView
from projections.gate.trial import UNUSED, Usage
from schemas.facts import Request
from schemas.gate_facts import Policy, Preference
from schemas.identity import sent_at_us
from schemas.times import DAY_US

__all__ = ["REMEMBERED_BYTES", "AccountState", "Answer", "answer", "later"]

REMEMBERED_BYTES: Final = 4096
"""A request of more is not remembered, only its hash. So one that is repeated with another content stays unanswered."""

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
    return max(known, said, key=lambda wish: (wish.updated_us, msgspec.msgpack.encode(wish)))


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


class AccountState:
    """The memory of one account. Rows are named `policy`, `usage`, `preference/KIND/ID` and `decision/MESSAGE_ID`."""

    def __init__(self, rows: Mapping[str, bytes] | None = None) -> None:
        """`rows`: those of the changelog, to go on from."""
        self._settled = dict(rows or {})
        self._changes: dict[str, bytes | None] = {}
        self._days = _by_day(self._settled)

    @property
    def rows(self) -> Mapping[str, bytes]:
        """What is written: another state that is made of it goes on where this one would without its changes."""
        return self._settled

    @property
    def changes(self) -> Mapping[str, bytes | None]:
        """What has to be written of the batch under way; None for a row that is to be deleted."""
        return self._changes

    def settle(self) -> None:
        """Take in the changes: they are written."""
        for name, row in self._changes.items():
            if row is None:
                self._settled.pop(name, None)
            else:
                self._settled[name] = row
        self._changes = {}

    def discard(self) -> None:
        """Drop the changes: they were not written, and what they were made from will be read again."""
        self._changes = {}
        self._days = _by_day(self._settled)

    def take_policy(self, policy: Policy) -> None:
        """Take in a policy; it counts for what is read after it."""
        self._write("policy", POLICY, later(self._read("policy", POLICY), policy))

    def take_preference(self, preference: Preference) -> None:
        """Take in a preference; it counts for what is read after it."""
        name = f"preference/{preference.recipient_kind}/{preference.recipient_id}"
        self._write(name, PREFERENCE, later(self._read(name, PREFERENCE), preference))

    def decide(self, request: Request, address: SuppressionView, *, decided_us: int, rules: Rules) -> Answer:
        """Return the answer to a request, and remember it. `address` is what holds for its To."""
        name = f"decision/{request.message_id}"
        usage = self._read("usage", USAGE) or UNUSED
        given = answer(
            request,
            address,
            self._read("policy", POLICY),
            self._read(f"preference/{request.recipient_kind}/{request.recipient_id}", PREFERENCE),
            usage,
            self._read(name, REMEMBERED),
            decided_us=decided_us,
            rules=rules,
        )
        if not given.repeated:
            self._write(name, REMEMBERED, given.remembered)
            self._days[_day(request.message_id)].append(name)
            if given.remembered.verdict.trial_us is not None:
                self._write("usage", USAGE, given.remembered.verdict.usage_after(usage))
        return given

    def forget(self, record_us: int, rules: Rules) -> None:
        """Forget the decisions that no valid request can ask for again. `record_us`: the time of a request's record.

        They are forgotten by whole days of their Date Sent, so at the most a day later than they could be.
        """
        before = rules.forgotten_before_us(record_us) // DAY_US
        for day in [day for day in self._days if day < before]:
            self._changes.update(dict.fromkeys(self._days.pop(day)))

    def _read(self, name: str, codec: Codec[T]) -> T | None:
        row = self._changes[name] if name in self._changes else self._settled.get(name)
        return None if row is None else codec.decode(row)

    def _write(self, name: str, codec: Codec[T], value: T) -> None:
        row = codec.encode(value)
        if row != self._changes.get(name, self._settled.get(name)):
            self._changes[name] = row


def _by_day(names: Iterable[str]) -> dict[int, list[str]]:
    """The rows of decisions by the day of their Date Sent."""
    days: dict[int, list[str]] = defaultdict(list)
    for name in names:
        kind, _, message_id = name.partition("/")
        if kind == "decision":
            days[_day(message_id)].append(name)
    return days


def _day(message_id: str) -> int:
    return sent_at_us(message_id) // DAY_US

"""The agent by account: keeps policies, preferences, quota and decisions, and decides.

In:  records of `gate.by-account`, keyed by account. Out: `sends.decided`. The engine makes outputs, states and offset
     one transaction, so that no decision is lost, made twice or made differently, and the quota is exact.

A state is a row of bytes under `account NUL name`, with the names of `projections.gate.account`: so a decision writes
its own row and not the whole account.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from processors.engine import Output, Record, Step
from processors.gate.forwarding import JUDGED, Kind, kind_of, screened_request, unscreened
from projections.gate.account import answer, later
from projections.gate.rows import POLICY, PREFERENCE, REMEMBERED, USAGE, Codec
from projections.gate.rules import Rules
from projections.gate.trial import UNUSED
from schemas.facts import decode_request
from schemas.gate_facts import decode_policy, decode_preference
from schemas.identity import sent_at_us
from schemas.times import DAY_US
from schemas.topics import SENDS_DECIDED

__all__ = ["AccountStep"]

FORGOTTEN: Final = b"\x00forgotten"
"""A row of the partition: the day (since 1970) up to which decisions are forgotten."""
_DECISION: Final = b"\x00decision/"

T = TypeVar("T")


class AccountStep:
    """The pure step of a run of records."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __call__(self, states: Mapping[bytes, bytes], records: Sequence[Record]) -> Step[bytes]:
        rows = _Rows(states)
        outputs: list[Output] = []
        for record in records:
            account, value, place = (record.key or b"").decode(), record.value or b"", unscreened(record)
            match kind_of(record):
                case Kind.POLICY:
                    policy = later(rows.read(account, "policy", POLICY), decode_policy(value, place))
                    rows.write(account, "policy", POLICY, policy)
                case Kind.PREFERENCE:
                    preference = decode_preference(value, place)
                    name = f"preference/{preference.recipient_kind}/{preference.recipient_id}"
                    rows.write(account, name, PREFERENCE, later(rows.read(account, name, PREFERENCE), preference))
                case Kind.REQUEST:
                    outputs += self._decide(rows, account, record)
                    rows.forget(self._rules.forgotten_before_us(place.received_us) // DAY_US)
                case Kind.EVIDENCE:
                    raise AssertionError("evidence is about an address, never about an account")
        return Step(outputs, rows.changed)

    def _decide(self, rows: "_Rows", account: str, record: Record) -> list[Output]:
        value, view = screened_request(record.value or b"")
        request = decode_request(value, unscreened(record), decision_days=JUDGED)
        name = f"decision/{request.message_id}"
        usage = rows.read(account, "usage", USAGE) or UNUSED
        given = answer(
            request,
            view,
            rows.read(account, "policy", POLICY),
            rows.read(account, f"preference/{request.recipient_kind}/{request.recipient_id}", PREFERENCE),
            usage,
            rows.read(account, name, REMEMBERED),
            decided_us=record.timestamp * 1000,
            rules=self._rules,
        )
        if not given.repeated:
            rows.write(account, name, REMEMBERED, given.remembered)
            if given.remembered.verdict.trial_us is not None:
                rows.write(account, "usage", USAGE, given.remembered.verdict.usage_after(usage))
        if given.value is None:
            return []
        return [Output(SENDS_DECIDED.name, request.message_id.encode(), given.value)]


class _Rows:
    """The rows of a partition, with the changes of the run under way before them."""

    def __init__(self, states: Mapping[bytes, bytes]) -> None:
        self._states = states
        self.changed: dict[bytes, bytes | None] = {}

    def read(self, account: str, name: str, codec: Codec[T]) -> T | None:
        """Return a row of an account, or None where there is none."""
        key = _key(account, name)
        row = self.changed[key] if key in self.changed else self._states.get(key)
        return None if row is None else codec.decode(row)

    def write(self, account: str, name: str, codec: Codec[T], value: T) -> None:
        """Put a row in place, if it says something new."""
        key, row = _key(account, name), codec.encode(value)
        if row != self.changed.get(key, self._states.get(key)):
            self.changed[key] = row

    def forget(self, before_day: int) -> None:
        """Forget decisions about messages of earlier days, once a day: nobody can validly ask for them again."""
        row = self.changed.get(FORGOTTEN, self._states.get(FORGOTTEN)) or b"0"
        if before_day <= int(row):
            return
        self.changed[FORGOTTEN] = b"%d" % before_day
        for key in (*self._states, *self.changed):
            _, found, message_id = key.partition(_DECISION)
            if found and sent_at_us(message_id.decode()) // DAY_US < before_day:
                self.changed[key] = None


def _key(account: str, name: str) -> bytes:
    return f"{account}\x00{name}".encode()

"""The agent by address: folds evidence, says what changed, and screens requests.

In:  records of `gate.by-address`, keyed by address. Out: `suppressions.changed`, and requests with what holds for their
     To, keyed by account. The engine makes outputs, states and offset one transaction.

A state is the row of an address that anything is known of: bytes take a third of what they say, and are read when
the address is asked about.
"""

from collections.abc import Mapping, Sequence

from processors.engine import Output, Record, Step
from processors.gate.forwarding import TO_ADDRESS, Asked, screened
from projections.gate.addressing import AddressKey
from projections.gate.evidence import Evidence
from projections.gate.published import state_value
from projections.gate.rows import address_of_row, row_of_address
from projections.gate.rules import Rules
from projections.gate.suppression import UNKNOWN, AddressState, of_account, review, step
from projections.gate.suppression import Step as Taken
from schemas.topics import SUPPRESSIONS_CHANGED

__all__ = ["AddressStep"]


class AddressStep:
    """The pure step of a run of records."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __call__(self, states: Mapping[bytes, bytes], records: Sequence[Record]) -> Step[bytes]:
        run = _Run(states, self._rules)
        for record in records:
            if record.value is None:
                continue  # somebody filled a gap in the topic: docs/explanation/gate.md, "After a loss"
            key, told, at_us = record.key or b"", TO_ADDRESS.decode(record.value), record.timestamp * 1000
            if isinstance(told, Asked):
                run.screen(key, told, at_us)
            else:
                run.take(key, told.evidence, at_us)
        return Step(run.outputs, {key: row_of_address(run.known[key]) for key in run.changed})


class _Run:
    """The addresses that one run of records is about."""

    def __init__(self, states: Mapping[bytes, bytes], rules: Rules) -> None:
        self._states, self._rules = states, rules
        self.known: dict[bytes, AddressState] = {}
        self.changed: dict[bytes, None] = {}
        """Keys in the order of their first change."""
        self.outputs: list[Output] = []

    def screen(self, key: bytes, request: Asked, at_us: int) -> None:
        """Tell the account what holds. After a changed setting that may be other than was published: then it is now."""
        done = review(self._state(key), self._rules)
        self._keep(key, done, at_us)
        self.outputs.append(screened(request, of_account(done.view, request.account_id)))

    def take(self, key: bytes, evidence: Evidence, at_us: int) -> None:
        self._keep(key, step(self._state(key), evidence, self._rules), at_us)

    def _keep(self, key: bytes, done: Taken, at_us: int) -> None:
        """Remember what was done, and publish it, if it is a change."""
        if done.state is not self._state(key):
            self.known[key], self.changed[key] = done.state, None
        if done.changed:
            value = state_value(AddressKey(*key.decode().split(":", 1)), done.view, done.state.version, at_us)
            self.outputs.append(Output(SUPPRESSIONS_CHANGED.name, key, value))

    def _state(self, key: bytes) -> AddressState:
        state = self.known.get(key)
        if state is None:
            row = self._states.get(key)
            state = self.known[key] = UNKNOWN if row is None else address_of_row(row)
        return state

"""The agent by address: folds evidence, publishes changes, and screens requests.

In:  records of `gate.by-address`, keyed by address. Out: `suppressions.changed`; requests with the snapshot of their
     To, keyed by account. The engine commits outputs, states and offset in one transaction.

A state is the row of an address of which something is known. It stays bytes, which take a third of the memory, and is
decoded when a record of the address is read.
"""

from collections.abc import Mapping, Sequence

from processors.engine import Output, Record, StepResult
from processors.gate.messages import TO_ADDRESS, ScreenRequest, screened_request
from projections.suppressions.addressing import AddressKey
from projections.suppressions.evidence import Evidence
from projections.suppressions.published import suppression_state_value
from projections.suppressions.rows import decode_address, encode_address
from projections.suppressions.rules import GateRules
from projections.suppressions.state import (
    UNKNOWN_ADDRESS,
    AddressState,
    AddressUpdate,
    apply_evidence,
    for_account,
    reevaluate,
)
from schemas.topics import SUPPRESSIONS_CHANGED

__all__ = ["AddressStep"]


class AddressStep:
    """The pure step of a run of records."""

    def __init__(self, rules: GateRules) -> None:
        self._rules = rules

    def __call__(self, states: Mapping[bytes, bytes], records: Sequence[Record]) -> StepResult[bytes]:
        run = _Run(states, self._rules)
        for record in records:
            if record.value is None:
                continue  # it fills a gap in the topic: docs/explanation/gate.md, "After a loss"
            key, message, at_us = record.key or b"", TO_ADDRESS.decode(record.value), record.timestamp * 1000
            if isinstance(message, ScreenRequest):
                run.screen(key, message, at_us)
            else:
                run.take(key, message.evidence, at_us)
        return StepResult(run.outputs, {key: encode_address(run.known[key]) for key in run.changed})


class _Run:
    """The addresses that one run of records is about."""

    def __init__(self, states: Mapping[bytes, bytes], rules: GateRules) -> None:
        self._states, self._rules = states, rules
        self.known: dict[bytes, AddressState] = {}
        self.changed: dict[bytes, None] = {}
        """Keys in the order of their first change."""
        self.outputs: list[Output] = []

    def screen(self, key: bytes, request: ScreenRequest, at_us: int) -> None:
        """Send the request to its account with the snapshot.

        After a changed setting the snapshot may differ from what was published; then it is published first.
        """
        update = reevaluate(self._state(key), self._rules)
        self._keep(key, update, at_us)
        self.outputs.append(screened_request(request, for_account(update.snapshot, request.account_id)))

    def take(self, key: bytes, evidence: Evidence, at_us: int) -> None:
        self._keep(key, apply_evidence(self._state(key), evidence, self._rules), at_us)

    def _keep(self, key: bytes, update: AddressUpdate, at_us: int) -> None:
        """Keep the new state, and publish the snapshot if it changed."""
        if update.state is not self._state(key):
            self.known[key], self.changed[key] = update.state, None
        if update.changed:
            address = AddressKey(*key.decode().split(":", 1))
            value = suppression_state_value(address, update.snapshot, update.state.version, at_us)
            self.outputs.append(Output(SUPPRESSIONS_CHANGED.name, key, value))

    def _state(self, key: bytes) -> AddressState:
        state = self.known.get(key)
        if state is None:
            row = self._states.get(key)
            state = self.known[key] = UNKNOWN_ADDRESS if row is None else decode_address(row)
        return state

"""The agent by address: folds evidence, says what changed, and screens requests.

In:  records of `gate.by-address`, keyed by address. Out: `suppressions.changed`, and requests with what holds for their
     To, keyed by account. The engine makes outputs, states and offset one transaction.
"""

from collections.abc import Mapping, Sequence

from processors.engine import Output, Record, Step
from processors.gate.forwarding import JUDGED, Kind, kind_of, screened, unscreened
from projections.gate.addressing import AddressKey
from projections.gate.published import state_value
from projections.gate.rows import EVIDENCE
from projections.gate.rules import Rules
from projections.gate.suppression import AddressState, of_account, step, view
from schemas.facts import decode_request
from schemas.topics import SUPPRESSIONS_CHANGED

__all__ = ["AddressStep"]

_UNKNOWN = AddressState()


class AddressStep:
    """The pure step of a run of records."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __call__(self, states: Mapping[bytes, AddressState], records: Sequence[Record]) -> Step[AddressState]:
        outputs: list[Output] = []
        changed: dict[bytes, AddressState | None] = {}
        for record in records:
            key = record.key or b""
            state = changed.get(key) or states.get(key, _UNKNOWN)
            if kind_of(record) is Kind.REQUEST:
                outputs.append(self._screen(record, state))
                continue
            done = step(state, EVIDENCE.decode(record.value or b""), self._rules)
            if done.state is not state:
                changed[key] = done.state
            if done.changed:
                address = AddressKey(*key.decode().split(":", 1))
                value = state_value(address, done.view, done.state.version, record.timestamp * 1000)
                outputs.append(Output(SUPPRESSIONS_CHANGED.name, key, value))
        return Step(outputs, changed)

    def _screen(self, record: Record, state: AddressState) -> Output:
        value = record.value or b""
        request = decode_request(value, unscreened(record), decision_days=JUDGED)
        holds = of_account(view(state, self._rules), request.account_id)
        return screened(request.account_id, value, holds, record)

"""The agent by account: keeps policies, preferences, trial usage and decisions, and decides.

In:  records of `gate.by-account`, keyed by account. Out: `sends.decided`. The engine commits outputs, states and offset
     in one transaction, so no decision is lost, made twice or changed, and the quota is exact.

A state is one row of `projections.decisions.account`, so that a decision writes its own row and not the whole account.
"""

from collections.abc import Mapping, Sequence

from processors.engine import Output, Record, StepResult
from processors.gate.messages import TO_ACCOUNT, PolicyMessage, PreferenceMessage, ScreenedRequest
from projections.decisions.account import Accounts
from projections.decisions.rows import REQUEST
from projections.suppressions.rules import GateRules
from schemas.topics import SENDS_DECIDED

__all__ = ["AccountStep"]


class AccountStep:
    """The pure step of a run of records."""

    def __init__(self, rules: GateRules) -> None:
        self._rules = rules

    def __call__(self, states: Mapping[bytes, bytes], records: Sequence[Record]) -> StepResult[bytes]:
        accounts = Accounts(states)
        outputs: list[Output] = []
        last_request_us = 0
        for record in records:
            if record.value is None:
                continue  # it fills a gap in the topic: docs/explanation/gate.md, "After a loss"
            match TO_ACCOUNT.decode(record.value):
                case PolicyMessage(policy):
                    accounts.take_policy(policy)
                case PreferenceMessage(preference):
                    accounts.take_preference(preference)
                case ScreenedRequest(snapshot, row):
                    request = REQUEST.decode(row)
                    last_request_us = max(last_request_us, request.source.received_us)
                    result = accounts.decide(request, snapshot, decided_us=record.timestamp * 1000, rules=self._rules)
                    if result.value is not None:
                        outputs.append(Output(SENDS_DECIDED.name, request.message_id.encode(), result.value))
        if last_request_us:
            accounts.end_run(last_request_us, self._rules)
        return StepResult(outputs, accounts.changes)

"""The agent by account: keeps policies, preferences, quota and decisions, and decides.

In:  records of `gate.by-account`, keyed by account. Out: `sends.decided`. The engine makes outputs, states and offset
     one transaction, so that no decision is lost, made twice or made differently, and the quota is exact.

A state is a row of `projections.gate.account`, so that a decision writes its own row and not the whole account.
"""

from collections.abc import Mapping, Sequence

from processors.engine import Output, Record, Step
from processors.gate.forwarding import TO_ACCOUNT, PolicySaid, PreferenceSaid, Screened
from projections.gate.account import Accounts
from projections.gate.rows import REQUEST
from projections.gate.rules import Rules
from schemas.topics import SENDS_DECIDED

__all__ = ["AccountStep"]


class AccountStep:
    """The pure step of a run of records."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __call__(self, states: Mapping[bytes, bytes], records: Sequence[Record]) -> Step[bytes]:
        accounts = Accounts(states)
        outputs: list[Output] = []
        asked_us = 0
        for record in records:
            if record.value is None:
                continue  # somebody filled a gap in the topic: docs/explanation/gate.md, "After a loss"
            match TO_ACCOUNT.decode(record.value):
                case PolicySaid(policy):
                    accounts.take_policy(policy)
                case PreferenceSaid(preference):
                    accounts.take_preference(preference)
                case Screened(view, row):
                    request = REQUEST.decode(row)
                    asked_us = max(asked_us, request.place.received_us)
                    given = accounts.decide(request, view, decided_us=record.timestamp * 1000, rules=self._rules)
                    if given.value is not None:
                        outputs.append(Output(SENDS_DECIDED.name, request.message_id.encode(), given.value))
        if asked_us:
            accounts.end_run(asked_us, self._rules)
        return Step(outputs, accounts.changes)

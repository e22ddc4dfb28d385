"""Multi-message scenarios for the gate: functions that each write a `MultiMessageTimeline`.

Promise: every outcome and reason of docs/explanation/gate.md has a scenario, including what reverses it, if anything.
"""

from typing import Final

from simulator.multi_message import accounts, opt_outs, suppressions

__all__ = ["MULTI_MESSAGE_SCENARIOS"]

MULTI_MESSAGE_SCENARIOS: Final = (*accounts.SCENARIOS, *suppressions.SCENARIOS, *opt_outs.SCENARIOS)

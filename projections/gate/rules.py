"""The numbers in the gate's rules that an operator may set."""

from dataclasses import dataclass
from typing import Final

from schemas.times import DAY_US

__all__ = ["DEFAULTS", "FORGET_AFTER_DAYS", "Rules"]

FORGET_AFTER_DAYS: Final = 1
"""How much longer than a request for it can be valid a decision is remembered: partitions are not read in step."""
_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class Rules:
    """What is set. A change counts for what is read after it, and for an address when something of it is read."""

    suppress_bounces: int = 3
    """Bounced messages that close an address (`SUPPRESS_BOUNCES`), at least 1."""
    suppress_window_days: int = 30
    """The days within which they must lie, both ends included (`SUPPRESS_WINDOW_DAYS`)."""
    decision_days: int = 30
    """The age at which a request is invalid (`DECISION_DAYS`)."""
    refuse_unknown: bool = False
    """Whether an account without a policy may send nothing (`DEFAULT_POLICY=refuse`)."""

    @property
    def window_us(self) -> int:
        """The width of the window, in microseconds."""
        return self.suppress_window_days * DAY_US

    @property
    def kept(self) -> int:
        """How much like evidence an address keeps at either end of a spell (`projections.gate.thinning`)."""
        return max(_KEPT, 2 * PER_MESSAGE * self.suppress_bounces)

    def forgotten_before_us(self, record_us: int) -> int:
        """Return the Date Sent before which decisions may be forgotten at a record of that time."""
        return record_us - (self.decision_days + FORGET_AFTER_DAYS) * DAY_US


PER_MESSAGE: Final = 4
"""How many bounces of one message count at either end: one is usual, thousands are a mistake of somebody's."""

DEFAULTS: Final = Rules()

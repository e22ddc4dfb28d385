"""The settings of the gate's rules."""

from dataclasses import dataclass
from typing import Final

from schemas.decoding.times import DAY_US

__all__ = ["DEFAULT_RULES", "FORGET_AFTER_DAYS", "GateRules"]

FORGET_AFTER_DAYS: Final = 1
"""A decision is remembered so many days longer than a request for it is valid: partitions are not read in step."""
_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class GateRules:
    """The settings. A change applies to records that are read after it; to an address when a record of it is read."""

    suppress_bounces: int = 3
    """Bounced messages that suppress an address (`SUPPRESS_BOUNCES`), at least 1."""
    suppress_window_days: int = 30
    """They must be within so many days, both ends included (`SUPPRESS_WINDOW_DAYS`)."""
    decision_days: int = 30
    """The age, in days, above which a request is invalid (`DECISION_DAYS`)."""
    refuse_unknown: bool = False
    """Whether an account without a policy may send nothing (`DEFAULT_POLICY=refuse`)."""

    @property
    def window_us(self) -> int:
        """The width of the window, in microseconds."""
        return self.suppress_window_days * DAY_US

    @property
    def kept_at_each_end(self) -> int:
        """How many items of a group are kept at either end of a period (`projections.suppressions.compaction`)."""
        return max(_KEPT, 2 * BOUNCES_PER_MESSAGE * self.suppress_bounces)

    def forgotten_before_us(self, record_us: int) -> int:
        """Return the Date Sent before which decisions may be forgotten at a record of that time."""
        return record_us - (self.decision_days + FORGET_AFTER_DAYS) * DAY_US


BOUNCES_PER_MESSAGE: Final = 4
"""How many bounces of one message are kept at either end: one is usual, thousands are a malfunction."""

DEFAULT_RULES: Final = GateRules()

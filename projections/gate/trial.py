"""Trials: what an account that pays nothing yet may send, and how much of it is used.

A trial is over for a request from its end on; a request from before its start is in it. Its quota counts emails that
were approved while the account was known to be in trial without billing. Each trial, by its start, has its own count.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.gate_facts import Policy
from schemas.times import DAY_US

__all__ = ["UNUSED", "Trial", "Usage", "trial_of"]


class Trial(NamedTuple):
    """How an account's trial stands for one request."""

    policy: Policy
    started_us: int
    ended_us: int
    running: bool
    paid: bool
    """Whether billing is entered, whenever it was: it counts for every request that is read after it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How many emails each trial of an account has used: pairs of its start and the count, in order."""

    counts: tuple[tuple[int, int], ...] = ()

    def of(self, trial_us: int) -> int:
        """Return the emails that the trial which started then has used."""
        return dict(self.counts).get(trial_us, 0)

    def plus(self, trial_us: int) -> "Usage":
        """Return the usage with one email more of a trial."""
        return Usage(tuple(sorted({**dict(self.counts), trial_us: self.of(trial_us) + 1}.items())))


UNUSED: Final = Usage()


def trial_of(policy: Policy | None, requested_us: int) -> Trial | None:
    """Return how the trial stands for a request of that time; None for a paying account, or one that is unknown."""
    if policy is None or policy.trial_started_us is None:
        return None
    ended_us = policy.trial_started_us + policy.trial_days * DAY_US
    paid = policy.billing_entered_us is not None
    return Trial(policy, policy.trial_started_us, ended_us, requested_us < ended_us, paid)

"""Trials: what an account may send before it pays, and how much of that it has used.

A trial ends at its start plus its days, that moment excluded; a request made before its start is in it. Its quota
counts emails that were approved while the account was known to be in trial without billing. Each trial, identified by
its start, has its own count.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.decoding.gate_inputs import Policy
from schemas.decoding.times import DAY_US

__all__ = ["UNUSED", "Trial", "Usage", "trial_of"]


class Trial(NamedTuple):
    """The trial of an account as of one request."""

    policy: Policy
    started_us: int
    ended_us: int
    running: bool
    paid: bool
    """Whether billing is entered, at whatever time: it applies to every request that is read after it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How many emails each trial of an account has used: pairs of start and count, in order of start."""

    counts: tuple[tuple[int, int], ...] = ()

    def of(self, trial_us: int) -> int:
        """Return how many emails the trial that started then has used."""
        return dict(self.counts).get(trial_us, 0)

    def plus(self, trial_us: int) -> "Usage":
        """Return the usage after one more email of a trial."""
        return Usage(tuple(sorted({**dict(self.counts), trial_us: self.of(trial_us) + 1}.items())))


UNUSED: Final = Usage()


def trial_of(policy: Policy | None, requested_us: int) -> Trial | None:
    """Return the trial as of a request's time; None if the account is unknown or has no trial."""
    if policy is None or policy.trial_started_us is None:
        return None
    ended_us = policy.trial_started_us + policy.trial_days * DAY_US
    paid = policy.billing_entered_us is not None
    return Trial(policy, policy.trial_started_us, ended_us, requested_us < ended_us, paid)

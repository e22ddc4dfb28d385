"""The state of accounts as bytes: the rows of the changelog of `gate.by-account`.

In and out: policies, preferences, trial usage and remembered decisions; decoding what was encoded gives an equal value.
Format: `projections.versioned_codec`. `REQUEST` is no row: by it the gate's agents send requests to each other.
"""

from typing import Final, NamedTuple

from projections.decisions.decide import Verdict
from projections.decisions.published import RequestFields
from projections.decisions.trial import Usage
from projections.versioned_codec import VersionedCodec
from schemas.decoding.gate_inputs import Policy, Preference
from schemas.decoding.sends import Request

__all__ = [
    "DECISION",
    "POLICY",
    "PREFERENCE",
    "REQUEST",
    "RUN",
    "RUNS",
    "USAGE",
    "RememberedDecision",
    "Run",
    "Runs",
]


class RememberedDecision(NamedTuple):
    """The decision about a message, as it is remembered."""

    decided_us: int
    verdict: Verdict
    request: RequestFields | None
    """The request that was decided; None where it was too large to be remembered."""
    content_hash: str
    """The request's hash where `request` is None; else blank."""


class Run(NamedTuple):
    """The decisions of one run (a call of the step): what is forgotten together."""

    last_us: int
    """The latest Date Sent of these messages."""
    decisions: tuple[bytes, ...]
    """The keys of their rows."""


class Runs(NamedTuple):
    """The numbers of the runs that are not forgotten yet: from `first` to below `following`."""

    first: int
    following: int


POLICY: Final = VersionedCodec[Policy](Policy)
PREFERENCE: Final = VersionedCodec[Preference](Preference)
USAGE: Final = VersionedCodec[Usage](Usage)
DECISION: Final = VersionedCodec[RememberedDecision](RememberedDecision)
RUN: Final = VersionedCodec[Run](Run)
RUNS: Final = VersionedCodec[Runs](Runs)
REQUEST: Final = VersionedCodec[Request](Request)

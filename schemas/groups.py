"""The consumer groups that read the log, and what each reads. `lag`, `doctor`, `verify` and `simulate` go by this list.

A group whose topics stand here lags in all of them, also where it has committed nothing yet. Of one whose topics are
its own business (they are None) a topic counts once the group has committed something in it.
"""

from dataclasses import dataclass
from typing import Final

from schemas.topics import GATE_INPUTS, GATE_INTERNAL, LEDGER_INPUTS

__all__ = ["GATE", "Group", "gate_of", "groups_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group."""

    name: str
    topics: tuple[str, ...] | None = None


def gate_of(name: str) -> Group:
    """Return the group of the gate's workers: their way in, and the topics between their parts."""
    return Group(name, (*(topic.name for topic in GATE_INPUTS), *(topic.name for topic in GATE_INTERNAL)))


GATE: Final = gate_of("gate")
"""The gate's group, unless it is set otherwise."""


def groups_of(ledger: str, gate: str = GATE.name) -> tuple[Group, ...]:
    """Return every group of an installation, given the names of its two."""
    return (Group(ledger, tuple(topic.name for topic in LEDGER_INPUTS)), gate_of(gate))

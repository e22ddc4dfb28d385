"""The consumer groups and the topics that each reads. `lag`, `doctor`, `verify` and `simulate` use this list.

The lag of a group is measured in all of its `topics`, even where it has committed nothing yet. If `topics` is None,
it is measured in the topics in which the group has committed an offset.
"""

from dataclasses import dataclass
from typing import Final

from schemas.topics import GATE_INPUTS, GATE_INTERNAL, LEDGER_INPUTS

__all__ = ["DEFAULT_GATE_GROUP", "ConsumerGroup", "consumer_groups", "gate_group"]


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group."""

    name: str
    topics: tuple[str, ...] | None = None


def gate_group(name: str) -> ConsumerGroup:
    """Return the consumer group of the gate workers, which read the gate's inputs and its internal topics."""
    return ConsumerGroup(name, (*(topic.name for topic in GATE_INPUTS), *(topic.name for topic in GATE_INTERNAL)))


DEFAULT_GATE_GROUP: Final = gate_group("gate")
"""The gate's consumer group with the default setting."""


def consumer_groups(ledger: str, gate: str = DEFAULT_GATE_GROUP.name) -> tuple[ConsumerGroup, ...]:
    """Return the consumer groups of an installation, given the names of the ledger's and the gate's."""
    return (ConsumerGroup(ledger, tuple(topic.name for topic in LEDGER_INPUTS)), gate_group(gate))

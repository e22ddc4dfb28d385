"""The consumer groups that read the log, and what each reads. `lag`, `doctor` and `verify` go by this list.

A group whose topics stand here lags in all of them, also where it has committed nothing yet. Of one whose topics are
its own business (they are None) a topic counts once the group has committed something in it.
"""

from dataclasses import dataclass
from typing import Final

from schemas.topics import LEDGER_INPUTS

__all__ = ["GATE", "Group", "groups_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group. A name that ends in `*` stands for every group on the broker that begins like it."""

    name: str
    topics: tuple[str, ...] | None = None


GATE: Final = Group("gate*")
"""The gate's groups: one for its intake and one for each of its internal topics, whose names are its own business."""


def groups_of(ledger: str) -> tuple[Group, ...]:
    """Return every group of an installation whose ledger workers are the group `ledger`."""
    return (Group(ledger, tuple(topic.name for topic in LEDGER_INPUTS)), GATE)

"""Copies and disorder in what providers tell, counted as far as one group shows them.

In:  the events of a group as rows of `events` and `orphans`, in the order in which they were read.
Out: two counts for each provider. Both are the least that there was: nothing is remembered between groups, and where
two records of one message stand in different partitions, the order in which they are read is nobody's promise.

No row depends on either. They say how much of the ledger's work is repetition, and how well a provider keeps order.
They are counted on whole columns: event by event they cost as much as a fifth of the fold.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projections.messages.columns import NO_MESSAGE
from schemas.telemetry import Telemetry

__all__ = ["Disorder", "count_disorder", "disorder_in"]


@dataclass(frozen=True, slots=True)
class Disorder:
    """Events by provider that are copies of one before them, and that are older than one before them."""

    copies: Mapping[str, int] = field(default_factory=dict)
    older: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Disorder") -> "Disorder":
        return Disorder(Counter(self.copies) + Counter(other.copies), Counter(self.older) + Counter(other.older))


def disorder_in(rows: Any) -> Disorder:
    """Return the copies and the disorder among rows of `events_table`.

    A copy is not counted a second time as out of order. Events are compared within one message: ours if they name it,
    else the provider's; one that names neither has no order.
    """
    if not rows.num_rows:
        return Disorder()
    first = _first_of_each(_codes(rows["event_id"]))
    messages = pc.if_else(pc.equal(rows["message_id"], NO_MESSAGE), rows["provider_message_id"], rows["message_id"])
    compared = first & pc.not_equal(messages, "").to_numpy()
    late = np.zeros_like(first)
    late[compared] = _after_younger(_codes(messages)[compared], rows["occurred_at"].cast("i8").to_numpy()[compared])
    return Disorder(_by_provider(rows, ~first), _by_provider(rows, late))


def count_disorder(telemetry: Telemetry, found: Disorder) -> None:
    """Raise the two counters by what a group shows."""
    for provider, count in found.copies.items():
        telemetry.counter("duplicates_total", provider).inc(count)
    for provider, count in found.older.items():
        telemetry.counter("out_of_order_total", provider).inc(count)


def _codes(column: Any) -> Any:
    """The values of a column as numbers, given in the order in which the values appear first."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy()


def _first_of_each(codes: Any) -> Any:
    return np.diff(np.maximum.accumulate(codes), prepend=-1) > 0


def _after_younger(groups: Any, times: Any) -> Any:
    """Where a time stands behind a later one of its group."""
    order = np.argsort(groups, kind="stable")
    _, ranks = np.unique(times, return_inverse=True)
    heights = groups[order].astype("i8") * len(times) + ranks[order]  # each group stands above all before it
    late = np.empty(len(times), bool)
    late[order] = heights < np.maximum.accumulate(heights)
    return late


def _by_provider(rows: Any, some: Any) -> Mapping[str, int]:
    if not some.any():
        return {}
    counts = pc.value_counts(rows["provider"].filter(pa.array(some)))
    return {entry["values"]: entry["counts"] for entry in counts.to_pylist()}

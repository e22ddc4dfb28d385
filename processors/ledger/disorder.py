"""Count duplicates and out-of-order events of providers within one group.

In:  the events of a group as rows of `events` and `orphans`, in the order in which they were read.
Out: two counts per provider. Both are minimums: nothing is remembered between groups, and records of one message in
different partitions are read in no defined order.

No row depends on these counts. They show how much of the ledger's work is repetition, and how well a provider keeps
order. They are computed on whole columns: event by event they would cost a fifth of the fold.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projections.messages.columns import NO_MESSAGE
from schemas.telemetry import DUPLICATES_TOTAL, OUT_OF_ORDER_TOTAL, Telemetry

if TYPE_CHECKING:
    import numpy.typing as npt

    Codes = npt.NDArray[np.int32]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Disorder", "count_disorder", "disorder_in"]


@dataclass(frozen=True, slots=True)
class Disorder:
    """Events by provider: duplicates of an earlier one, and events that are older than an earlier one."""

    duplicates: Mapping[str, int] = field(default_factory=dict)
    out_of_order: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Disorder") -> "Disorder":
        return Disorder(
            Counter(self.duplicates) + Counter(other.duplicates),
            Counter(self.out_of_order) + Counter(other.out_of_order),
        )


def disorder_in(rows: pa.Table) -> Disorder:
    """Return the duplicates and out-of-order events among rows of `events_table`.

    A duplicate is not also counted as out of order. Events are compared within one message, by our id if they have one,
    else by the provider's; events without either are not compared.
    """
    if not rows.num_rows:
        return Disorder()
    first = _first_of_each(_codes(rows["event_id"]))
    messages = pc.if_else(
        pc.equal(rows["message_id"], pa.scalar(NO_MESSAGE)), rows["provider_message_id"], rows["message_id"]
    )
    has_message: Any = pc.not_equal(messages, pa.scalar(""))
    compared = first & has_message.to_numpy()
    late = np.zeros_like(first)
    late[compared] = _after_younger(
        _codes(messages)[compared], rows["occurred_at"].cast(pa.int64()).to_numpy()[compared]
    )
    return Disorder(_by_provider(rows, ~first), _by_provider(rows, late))


def count_disorder(telemetry: Telemetry, found: Disorder) -> None:
    """Increment the two counters."""
    for provider, count in found.duplicates.items():
        telemetry.counter(DUPLICATES_TOTAL, provider=provider).inc(count)
    for provider, count in found.out_of_order.items():
        telemetry.counter(OUT_OF_ORDER_TOTAL, provider=provider).inc(count)


def _codes(column: "pa.ChunkedArray[Any]") -> "Codes":
    """The values of a column as numbers, in the order of first appearance."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy()


def _first_of_each(codes: "Codes") -> "Mask":
    return np.diff(np.maximum.accumulate(codes), prepend=-1) > 0


def _after_younger(groups: "Codes", times: "npt.NDArray[np.int64]") -> "Mask":
    """Mark each time that follows a later one of its group."""
    order = np.argsort(groups, kind="stable")
    _, ranks = np.unique(times, return_inverse=True)
    heights = groups[order].astype("i8") * len(times) + ranks[order]  # each group has higher values than all before it
    late = np.empty(len(times), bool)
    late[order] = heights < np.maximum.accumulate(heights)
    return late


def _by_provider(rows: pa.Table, some: "Mask") -> Mapping[str, int]:
    if not some.any():
        return {}
    counts: Any = pc.value_counts(rows["provider"].filter(pa.array(some)))
    return {entry["values"]: entry["counts"] for entry in counts.to_pylist()}

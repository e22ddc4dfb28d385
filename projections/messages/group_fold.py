"""Fold the events of a batch into one row per message, vectorised with Polars.

In:  providers' events of any messages, in any order, copies included.
Out: the columns of `message_state` that depend on events.

Each axis (column) is merged with the same function as in the table `message_state`; tests prove that this fold, the
table's merges and the reference fold agree. This is the hot path: plain Python costs five times as much
(docs/reference/benchmarks.md).
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from projections.messages.arrow_types import (
    CHANGE,
    INVERSE,
    PROVIDER_ID,
    STATE,
    TYPE_SIZE,
    WINNER,
    Array,
    Columns,
    address_hash,
)
from projections.messages.outcomes import DELIVERY_RANKS, OTHER_TYPE, TYPE_NUMBERS
from schemas.events import ENGAGEMENT_TYPES

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["fold_events"]

_BOUNCES: Final = ("failed", "blocked", "bounced")
_MACHINE_TYPES: Final = tuple(sorted(ENGAGEMENT_TYPES))
_POSITION_BITS: Final = 20

_READ: Final = [
    *("account_id", "message_id", "type", "machine", "provider", "provider_message_id", "address", "occurred_at"),
    *(
        "received_at",
        "partition",
        "offset",
        "position",
        "code",
        "enhanced_code",
        "reason",
        "classification",
        "sub_status",
    ),
]
_COPY: Final = ("inverse_received", "inverse_partition", "inverse_place")
"""Of several copies of an event the one received first is the greatest."""

# The machine flag has a meaning only for opens and clicks.
_NAME: Final = (
    pl.when(pl.col("machine") & pl.col("type").is_in(_MACHINE_TYPES))
    .then(pl.concat_str(pl.lit("machine_"), pl.col("type")))
    .otherwise(pl.col("type"))
)


def fold_events(events: pa.Table) -> Columns:
    """Return the state of each message in `events` (rows of the table `events`), by account and message.

    An axis that depends on none of these events is left out.
    """
    if not events.num_rows:
        return {}
    frame = _frame(events)
    merged = frame.group_by("row").agg(*_MERGES).sort("row")
    size = len(merged)
    state = {name: _arrow(merged[name], STATE[name]) for name in merged.columns if name in STATE}
    state["told"] = _told(frame, size)
    state["seen"] = _seen(frame, size)
    state["provider_ids"] = _provider_ids(frame, size)
    names = set(frame["name"].unique())
    for axis, (fold, of) in _AXES.items():
        if not names.isdisjoint(of):
            state[axis] = fold(frame.filter(pl.col("name").is_in(of)), size)
    return state


def _earliest(*names: str) -> pl.Expr:
    return pl.col("inverse_at").filter(pl.col("name").is_in(names)).max().fill_null(0)


_MERGES: Final = (
    pl.col("account_id", "message_id").first(),
    pl.col("at").max().alias("heard"),
    _earliest("processed").alias("processed"),
    _earliest("delivered").alias("delivered"),
    _earliest(*_BOUNCES).alias("bounced"),
    _earliest("opened").alias("opened"),
    _earliest("clicked").alias("clicked"),
)


def _frame(events: pa.Table) -> pl.DataFrame:
    """Return the events as a frame; `row` is the index of the message, `high` and `low` are halves of event_id."""
    ids = events["event_id"].combine_chunks()
    values: Any = ids.buffers()[1]
    halves = np.frombuffer(values, ">u8", 2 * len(ids), 16 * ids.offset).astype("u8").reshape(-1, 2)
    frame: pl.DataFrame = pl.from_arrow(events.select(_READ))  # type: ignore[assignment]  # from a table it is a frame
    place = pl.col("offset") % (1 << 64 - _POSITION_BITS) * (1 << _POSITION_BITS) + pl.col("position") % (
        1 << _POSITION_BITS
    )
    return frame.with_columns(
        pl.col("occurred_at", "received_at").to_physical(),
        row=pl.struct("account_id", "message_id").rank("dense") - 1,
        name=_NAME,
        high=pl.Series(halves[:, 0]),
        low=pl.Series(halves[:, 1]),
        address_code=_address_codes(events["address"]),
    ).with_columns(
        at=pl.col("occurred_at"),
        inverse_at=(INVERSE - pl.col("occurred_at")).cast(pl.UInt64),
        inverse_id=~pl.col("high"),
        inverse_received=(INVERSE - pl.col("received_at")).cast(pl.UInt64),
        inverse_partition=~pl.col("partition"),
        inverse_place=~place,
        code_of_type=pl.col("address_code")
        + pl.col("name").replace_strict(TYPE_NUMBERS, default=OTHER_TYPE, return_dtype=pl.UInt64),
    )


def _address_codes(addresses: "pa.ChunkedArray[Any]") -> pl.Series:
    """Return each address's hash, shifted to leave room for a type number. An address is hashed once per batch."""
    encoded: Any = addresses.combine_chunks().dictionary_encode()
    hashes = np.fromiter(map(address_hash, encoded.dictionary.to_pylist()), "u8", len(encoded.dictionary))
    return pl.Series(hashes[encoded.indices.to_numpy()] << np.uint64(TYPE_SIZE))


def _told(frame: pl.DataFrame, size: int) -> Array:
    """Return the distinct pairs of address and event type of each message."""
    rows, codes = frame["row"].to_numpy(), frame["code_of_type"].to_numpy()
    order = np.lexsort((codes, rows))
    rows, codes = rows[order], codes[order]
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (rows[1:] != rows[:-1]) | (codes[1:] != codes[:-1])
    return _lists(pl.Series(rows[is_new]), size, pa.array(codes[is_new]))


_SEEN_ORDER: Final = ("inverse_hash", "provider", "provider_message_id")
_WITH_ID: Final = 1 << 63
"""A bit above every time, since times are at most 2^62."""


def _seen(frame: pl.DataFrame, size: int) -> Array:
    """Return the earliest event of each message; one with a provider id goes before one without."""
    known = frame.select(
        "row",
        "inverse_at",
        "provider",
        "provider_message_id",
        inverse_hash="inverse_id",
        known=pl.when(pl.col("provider_message_id") != "").then(2).otherwise(1),
    )
    has_id = (known["known"].to_numpy() == 2).astype("u8")
    order = known["inverse_at"].to_numpy() | has_id * np.uint64(_WITH_ID)
    return _structs(_first_of(known, order, _SEEN_ORDER, size), PROVIDER_ID)


def _provider_ids(frame: pl.DataFrame, size: int) -> Array:
    ids = (
        frame.filter(pl.col("provider_message_id") != "")
        .select("row", id=pl.concat_str("provider", pl.lit(":"), "provider_message_id"))
        .unique()
        .sort("row", "id")
    )
    return _lists(ids["row"], size, _arrow(ids["id"], pa.string()))


def _ids(frame: pl.DataFrame, size: int) -> Array:
    """Return the distinct events of a type, so that copies don't change the count."""
    ids = frame.select("row", "high").unique().sort("row", "high")
    return _lists(ids["row"], size, _arrow(ids["high"], pa.uint64()))


_WINNER_ORDER: Final = ("inverse_at", "inverse_id", *_COPY)


def _winners(frame: pl.DataFrame, size: int) -> Array:
    """Return the winning delivery event of each message; zeros if there is none."""
    delivery = frame.select(
        "row",
        *_WINNER_ORDER,
        *("code", "enhanced_code", "reason", "classification", "sub_status"),
        rank=pl.col("name").replace_strict(DELIVERY_RANKS, default=0, return_dtype=pl.UInt8),
        has_code=(pl.col("code") != "").cast(pl.UInt8),
    )
    order = delivery["rank"].to_numpy().astype("u8") << 1 | delivery["has_code"].to_numpy()
    return _structs(_spread(_first_of(delivery, order, _WINNER_ORDER, size), size), WINNER)


def _deliveries(frame: pl.DataFrame, size: int) -> Array:
    """Return each delivered event with the earliest time of its copies."""
    times = frame.group_by("row", "high").agg(pl.col("inverse_at").max()).sort("row", "high")
    return _maps(times, size, _arrow(times["inverse_at"], pa.uint64()))


def _changes(frame: pl.DataFrame, size: int) -> Array:
    """Return each subscription change, with the earliest of its copies."""
    changed = frame.with_columns(state="classification")
    first = changed.sort("row", "high", "inverse_at", "state", descending=[False, False, True, True]).unique(
        ("row", "high"), keep="first", maintain_order=True
    )
    return _maps(first, size, _structs(first, CHANGE))


def _first_of(
    frame: pl.DataFrame, first_order: "npt.NDArray[np.uint64]", order: tuple[str, ...], size: int
) -> pl.DataFrame:
    """Return the greatest row of each message: by `first_order`, a number, and on a tie by the columns `order`.

    Ties are rare, so there is little to sort.
    """
    rows = frame["row"].to_numpy()
    greatest = np.zeros(size, "u8")
    np.maximum.at(greatest, rows, first_order)
    leading = frame.filter(pl.Series(first_order == greatest[rows]))
    ordered = leading.sort("row", *order, descending=[False, *[True] * len(order)])
    return ordered.unique("row", keep="first", maintain_order=True)


def _spread(first: pl.DataFrame, size: int) -> pl.DataFrame:
    """Return a row for each message; nulls if `first` has none."""
    rows = pl.DataFrame({"row": np.arange(size)}, schema={"row": first.schema["row"]})
    return rows.join(first, on="row", how="left", maintain_order="left")


def _structs(frame: pl.DataFrame, kind: pa.StructType) -> Array:
    """Return a struct for each row; a null becomes the zero of its type."""
    full = frame.select(pl.col(field.name).fill_null(_ZEROS[field.type]) for field in kind)
    columns = [_arrow(full[field.name], field.type) for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


_ZEROS: Final = {pa.string(): "", pa.uint8(): 0, pa.uint32(): 0, pa.uint64(): 0, pa.int64(): 0}


def _arrow(series: pl.Series, kind: pa.DataType) -> Array:
    array: Array = series.to_arrow().cast(kind)
    return array


def _lists(rows: pl.Series, size: int, elements: Array) -> Array:
    """Return a list for each message: the elements, in order, belong to `rows`."""
    return pa.ListArray.from_arrays(_offsets(rows, size), elements)


def _maps(frame: pl.DataFrame, size: int, values: Array) -> Array:
    """Return a map for each message, from the first half of event_id to its value."""
    return pa.MapArray.from_arrays(_offsets(frame["row"], size), _arrow(frame["high"], pa.uint64()), values)


def _offsets(rows: pl.Series, size: int) -> Any:  # to pyarrow-stubs offsets have 64 bits; a list or map wants 32
    """Return the offsets of a list column whose elements, in order, belong to `rows`."""
    return pa.array(np.concatenate(([0], np.cumsum(np.bincount(rows.to_numpy(), minlength=size)))).astype("i4"))


_AXES: Final = {
    "opens": (_ids, ["opened"]),
    "machine_opens": (_ids, ["machine_opened"]),
    "clicks": (_ids, ["clicked"]),
    "deferrals": (_ids, ["deferred"]),
    "winner": (_winners, [*DELIVERY_RANKS]),
    "deliveries": (_deliveries, ["delivered"]),
    "changes": (_changes, ["subscription_changed"]),
}
"""The axes that depend on certain event types only: the function that merges them, and the types."""

"""The fold over the events of a group, vectorised: one row a message, each axis joined as its column joins.

In:  providers' events of any messages, in any order, copies included.
Out: the columns of `message_state` that events state.

A group is a frame, and each axis a few operations on whole columns: it is the hot path, and plain Python costs five
times as much (docs/reference/benchmarks.md). What each join is, is said in migrations/0001; that this one, the table's
and the law's are the same, tests prove.
"""

from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from projections.messages.arrow_types import INVERSE, KNOWN_AS, MARK, Columns, hash_array
from projections.messages.outcomes import DELIVERY_RANKS, SUB_STATUS_TYPES, sub_status_of

__all__ = ["fold_events"]

_COUNTED_TYPES: Final = ("opened", "clicked", "deferred")
_MARKED_TYPES: Final = (*DELIVERY_RANKS, "subscription_changed")
_FIRST_TYPES: Final = (*_MARKED_TYPES, "opened", "clicked", "complained")
_PLACE_BITS: Final = 20


def fold_events(events: Any) -> Columns:
    """Return the state of each message that `events` name (rows of the table `events`), by account and message."""
    if not events.num_rows:
        return {}
    frame = _frame(events)
    messages = frame.select("row", "account_id", "message_id").unique("row").sort("row")
    size = len(messages)
    timed = frame.filter(pl.col("type").is_in(_FIRST_TYPES)).with_columns(name=_NAME)
    return {
        "account_id": _arrow(messages["account_id"], pa.string()),
        "message_id": _arrow(messages["message_id"], pa.string()),
        "seen": _seen(frame),
        "provider_ids": _provider_ids(frame, size),
        "firsts": _firsts(timed, size),
        "counted": _counted(timed, size),
        "marks": _marks(timed, size),
    }


_READ: Final = [
    *("account_id", "message_id", "type", "machine", "provider", "provider_message_id", "address", "occurred_at"),
    *("received_at", "partition", "offset", "position", "code", "enhanced_code", "reason", "classification", "fault"),
]
_NAME: Final = pl.concat_str(
    pl.when("machine").then(pl.lit("machine_")).otherwise(pl.lit("")), pl.col("type"), pl.lit(":"), pl.col("address")
)
_INVERSE_AT: Final = (INVERSE - pl.col("occurred_at")).cast(pl.UInt64).alias("inverse_at")


def _frame(events: Any) -> pl.DataFrame:
    """The events as a frame; `row` is the place of an event's message, `high` and `low` are the halves of its id."""
    ids = events["event_id"].combine_chunks()
    halves = np.frombuffer(ids.buffers()[1], ">u8", 2 * len(ids), 16 * ids.offset).astype("u8").reshape(-1, 2)
    frame: pl.DataFrame = pl.from_arrow(events.select(_READ))  # type: ignore[assignment]  # of a table it is a frame
    return frame.with_columns(
        pl.col("occurred_at", "received_at").to_physical(),
        row=pl.struct("account_id", "message_id").rank("dense") - 1,
        high=pl.Series(halves[:, 0]),
        low=pl.Series(halves[:, 1]),
    )


def _seen(frame: pl.DataFrame) -> Any:
    """The earliest event, one with an id of the provider's before one without."""
    first = (
        frame.with_columns(present=pl.when(pl.col("provider_message_id") != "").then(2).otherwise(1))
        .sort(
            ("row", "present", "occurred_at", "high", "low", "provider", "provider_message_id"),
            descending=(False, True, False, False, False, True, True),
        )
        .unique("row", keep="first", maintain_order=True)
        .with_columns(_INVERSE_AT)
    )
    return pa.StructArray.from_arrays(
        [
            _arrow(first["present"], pa.uint8()),
            _arrow(first["inverse_at"], pa.uint64()),
            _hashes(~first["high"].to_numpy(), ~first["low"].to_numpy()),
            _arrow(first["provider"], pa.string()),
            _arrow(first["provider_message_id"], pa.string()),
        ],
        fields=list(KNOWN_AS),
    )


def _provider_ids(frame: pl.DataFrame, size: int) -> Any:
    ids = (
        frame.filter(pl.col("provider_message_id") != "")
        .select("row", id=pl.concat_str("provider", pl.lit(":"), "provider_message_id"))
        .unique()
        .sort("row", "id")
    )
    return pa.ListArray.from_arrays(_offsets(ids["row"], size), _arrow(ids["id"], pa.string()))


def _firsts(timed: pl.DataFrame, size: int) -> Any:
    firsts = timed.select("row", "name", _INVERSE_AT).group_by("row", "name").max().sort("row", "name")
    return pa.MapArray.from_arrays(
        _offsets(firsts["row"], size), _arrow(firsts["name"], pa.string()), _arrow(firsts["inverse_at"], pa.uint64())
    )


def _counted(timed: pl.DataFrame, size: int) -> Any:
    ids = (
        timed.filter(pl.col("type").is_in(_COUNTED_TYPES))
        .select("row", "name", "high")
        .unique()
        .sort("row", "name", "high")
    )
    names = ids.group_by("row", "name", maintain_order=True).len()
    lists = pa.ListArray.from_arrays(_running(names["len"].to_numpy()), _arrow(ids["high"], pa.uint64()))
    return pa.MapArray.from_arrays(_offsets(names["row"], size), _arrow(names["name"], pa.string()), lists)


def _marks(timed: pl.DataFrame, size: int) -> Any:
    """What each event says of the delivery; of its copies the one received first."""
    place = pl.col("offset") % (1 << 64 - _PLACE_BITS) * (1 << _PLACE_BITS) + pl.col("position") % (1 << _PLACE_BITS)
    marks = (
        timed.filter(pl.col("type").is_in(_MARKED_TYPES))
        .with_columns(place=place)
        .sort("row", "high", "low", "received_at", "partition", "place")
        .unique(("row", "high", "low"), keep="first", maintain_order=True)
        .with_columns(
            inverse_received=(INVERSE - pl.col("received_at")).cast(pl.UInt64),
            inverse_partition=~pl.col("partition"),
            inverse_place=~pl.col("place"),
            rank=pl.col("type").replace_strict(DELIVERY_RANKS, default=0, return_dtype=pl.UInt8),
            at=pl.col("occurred_at"),
        )
    )
    marks = marks.with_columns(sub_status=_sub_statuses(marks))
    values = pa.StructArray.from_arrays(
        [_arrow(marks[field.name], field.type) for field in MARK],
        fields=list(MARK),
    )
    ids = _hashes(marks["high"].to_numpy(), marks["low"].to_numpy())
    return pa.MapArray.from_arrays(_offsets(marks["row"], size), ids, values)


def _sub_statuses(marks: pl.DataFrame) -> pl.Series:
    """The sub-status that each event gives; few give one, so those are looked at one by one."""
    some = marks["type"].is_in(SUB_STATUS_TYPES).arg_true()
    said = marks[some].select("type", "provider", "classification", "fault", "code", "reason")
    return pl.repeat("", len(marks), dtype=pl.String, eager=True).scatter(
        some, [sub_status_of(*row) for row in said.iter_rows()]
    )


def _arrow(series: pl.Series, kind: Any) -> Any:
    return series.to_arrow().cast(kind)


def _hashes(high: Any, low: Any) -> Any:
    """Hashes from their halves: an array of 16 bytes each."""
    return hash_array(np.column_stack((high, low)).astype(">u8").tobytes())


def _offsets(rows: pl.Series, size: int) -> Any:
    """The offsets of a column of lists or maps whose elements, in order, belong to `rows`."""
    return _running(np.bincount(rows.to_numpy(), minlength=size))


def _running(lengths: Any) -> Any:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))).astype("i4"))

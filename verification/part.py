"""A part of the messages: a sample, or those with a Date Sent within a window. Rows of other messages are not written.

A message_id is a UUID 7. Its text begins with the time, so ids sort by time as texts; it ends in random digits, by
which a sample is chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from projections.store.ports import TableStore
from schemas.decoding.ids import uuid7

__all__ = ["WHOLE", "Part", "PartStore"]

_TAIL: Final = 4
"""Hexadecimal digits at the end of an id that a sample is chosen by."""
_LENGTH: Final = 36


@dataclass(frozen=True, slots=True)
class Part:
    """Some messages."""

    share: float = 1.0
    """How many of them, from 0 to 1."""
    since_us: int | None = None
    """Date Sent at or after this time (microseconds since 1970). None: no limit."""
    until_us: int | None = None
    """Date Sent before this time. None: no limit."""

    @property
    def is_whole(self) -> bool:
        """Whether all messages belong to it."""
        return self == WHOLE

    def condition(self, column: str) -> str:
        """Return the SQL condition that a column of message ids meets."""
        text = f"toString({column})"
        conditions = []
        if self.share < 1:
            conditions.append(f"(substring({text}, {_LENGTH - _TAIL + 1}) < '{self._tail}')")
        if self.since_us is not None:
            conditions.append(f"({text} >= '{_first_id(self.since_us)}')")
        if self.until_us is not None:
            conditions.append(f"({text} < '{_first_id(self.until_us)}')")
        return " AND ".join(conditions) or "1"

    def mask(self, ids: "pa.ChunkedArray[Any]") -> Any:
        """Return which of the message ids, as text, belong to it."""
        chosen: Any = pc.is_valid(ids)
        if self.share < 1:
            tails = pc.utf8_slice_codeunits(ids, _LENGTH - _TAIL, _LENGTH)
            chosen = pc.and_(chosen, pc.less(tails, pa.scalar(self._tail)))
        if self.since_us is not None:
            chosen = pc.and_(chosen, pc.greater_equal(ids, pa.scalar(_first_id(self.since_us))))
        if self.until_us is not None:
            chosen = pc.and_(chosen, pc.less(ids, pa.scalar(_first_id(self.until_us))))
        return chosen

    @property
    def _tail(self) -> str:
        """The text of the first tail that does not belong to the sample."""
        return f"{int(self.share * 16**_TAIL):0{_TAIL}x}"


WHOLE: Final = Part()


def _first_id(us: int) -> str:
    """Return how ids of a millisecond begin: as text, earlier ids are less than this, and all others are greater."""
    return uuid7(us, bytes(10))[:14]


class PartStore:
    """Writes the rows of a part of the messages, and all rows that belong to no message."""

    def __init__(self, store: TableStore, part: Part) -> None:
        self._store, self._part = store, part

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """See `TableStore`."""
        return self._store.tuples(sql, parameters)

    def insert(self, table: str, rows: pa.Table) -> None:
        """See `TableStore`."""
        if "message_id" in rows.column_names and table not in ("orphans", "dispatches"):
            rows = rows.filter(self._part.mask(rows["message_id"]))
        if rows.num_rows:
            self._store.insert(table, rows)

"""What queries and writers need of a store. `Store` is the real one. It and the fake pass the same contract tests
(tests/contracts/test_store.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

__all__ = ["Reader", "RepairStore", "Row", "TableStore", "Writer"]

Row = dict[str, Any]


class Reader(Protocol):
    """Reads. Outside values are bound as `{name:Type}` parameters. Raises StoreError or StoreRefused."""

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Return the rows of a query by their columns' names."""

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query as tuples."""

    def columns(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the columns of a query's result, each with a value for each row."""


class Writer(Protocol):
    """Writes."""

    def insert(self, table: str, rows: pa.Table) -> None:
        """Return when the rows are stored; columns that they lack get their defaults.

        Raises StoreError where the same call may succeed later, and StoreRefused where it never will. Either way some
        rows may be stored, so the caller must be able to write all of them again.
        """


class TableStore(Writer, Protocol):
    """What the ledger needs: it writes rows, and reads a few values to match events."""

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """See `Reader`."""


class RepairStore(TableStore, Protocol):
    """What a repair needs in addition: it may delete rows."""

    def delete(self, table: str, where: str, parameters: Mapping[str, object]) -> None:
        """Return when no row of the table meets the condition. It rewrites parts, so it is for few rows, and rare."""

"""Generations: each holds what one reading of the log made, in a database of its own; the promised views show one.

    sendledger_g1     tables and views of generation 1; a rebuild fills sendledger_g2 beside it
    sendledger        the promised views, each the view of the same name of the generation that is shown

Workers write into their generation. Everybody else reads the one that is shown, so a switch is a change of the views in
`sendledger` and of nothing else.
"""

from threading import Lock
from time import monotonic
from typing import Any, Final

from projections.store.clickhouse import Store
from schemas.errors import StoreError

__all__ = ["FIRST", "ShownStore", "show", "shown"]

FIRST: Final = 1

_POINTER: Final = "shown_generation"
"""The view that says which generation is shown."""
_ASKED_EVERY_SECONDS: Final = 2.0


def shown(store: Store) -> int | None:
    """Return the generation that the views of `store.database` show; None where there are none yet."""
    exists = store.tuples(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {name:String}",
        {"database": store.database, "name": _POINTER},
    )[0][0]
    if not exists:
        return None
    return int(store.tuples(f"SELECT generation FROM {store.database}.{_POINTER}")[0][0])  # noqa: S608 - names of ours


def show(store: Store, generation: int, views: list[str]) -> None:
    """Have the promised views show a generation, whose own views are there. The pointer is last: it says it is done."""
    tables = store.tables_of(generation)
    for view in views:
        store.command(f"CREATE OR REPLACE VIEW {store.database}.{view} AS SELECT * FROM {tables}.{view}")  # noqa: S608
    store.command(f"CREATE OR REPLACE VIEW {store.database}.{_POINTER} AS SELECT {generation:d} AS generation")


class ShownStore(Store):
    """Reads the generation that is shown, and follows a switch within two seconds."""

    def __init__(self, url: str, **options: Any) -> None:
        """Take what `Store` takes, but no generation."""
        super().__init__(url, generation=FIRST, **options)
        self._asked_at = -_ASKED_EVERY_SECONDS
        self._asking = Lock()

    @property
    def tables(self) -> str:
        """The database of the generation that is shown; of the first where none is shown yet."""
        if monotonic() - self._asked_at >= _ASKED_EVERY_SECONDS and self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()
        return super().tables

    def _ask(self) -> None:
        self._asked_at = monotonic()  # also where it fails: the query behind this one says what is wrong
        try:
            rows = self._asked_of(self.database, f"SELECT generation FROM {_POINTER}")  # noqa: S608 - a name of ours
        except StoreError:
            return
        self.generation = int(rows[0][0])

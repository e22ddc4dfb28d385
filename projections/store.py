"""ClickHouse, over HTTP: the one way in and out of the store.

In:  Arrow tables to insert; SQL with bound parameters to read.
Promises: an insert that returned is stored; one that raised may be stored or not, so whatever writes must be able to
write it again. `StoreError` says that the same call may go through later, `StoreRefused` that it may never.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from schemas.errors import ConfigError, StoreError, StoreRefused

__all__ = ["DATABASE", "Store"]

DATABASE: Final = "sendledger"

_CODE: Final = re.compile(r"[Cc]ode:? ?(\d+)")
_WAITED_OUT: Final = frozenset(
    {
        # No record's fault, but an operator's: it passes when he migrates, grants or mends the settings.
        8,  # THERE_IS_NO_COLUMN
        16,  # NO_SUCH_COLUMN_IN_TABLE
        60,  # UNKNOWN_TABLE
        81,  # UNKNOWN_DATABASE
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
        # The server's, which passes by itself.
        3,  # UNEXPECTED_END_OF_FILE: the body was cut off on its way
        159,  # TIMEOUT_EXCEEDED
        164,  # READONLY: a replica that has lost its keeper
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS: wait for the merges (max_partitions_per_insert_block, its other meaning, is off)
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        439,  # CANNOT_SCHEDULE_TASK
        999,  # KEEPER_EXCEPTION
    }
)
_WRITE_SETTINGS: Final = {
    "async_insert": 0,  # an insert returns when its rows are stored, not when they are queued
    "optimize_on_insert": 0,  # the writer has joined what a group says of a message; merges and FINAL do the rest
    "materialize_skip_indexes_on_insert": 0,  # merges make them; the parts that have none yet are small
    "max_partitions_per_insert_block": 0,  # late events reach back over many months
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}


class Store:
    """A connection pool to one database. May be used by several threads at once."""

    def __init__(self, url: str, *, database: str = DATABASE, timeout_seconds: int = 60) -> None:
        """Take `http[s]://[user[:password]@]host[:port]`. Raises ConfigError for another form."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:  # its text would show a piece of a password that has a slash in it
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.path not in ("", "/"):
            raise ConfigError(
                "The address of ClickHouse is none",
                "SENDLEDGER_CLICKHOUSE_URL",
                "Give it as http://user:password@host:8123, with %2F for a slash in the password",
            )
        self.database = database
        self._where = f"{parts.scheme}://{parts.hostname}:{port or ''}"
        self._options: dict[str, Any] = {
            "host": parts.hostname,
            "port": port or (8443 if parts.scheme == "https" else 8123),
            "secure": parts.scheme == "https",
            "username": unquote(parts.username or "default"),
            "password": unquote(parts.password or ""),
            "compress": "lz4",  # faster than none even on one machine: fewer bytes through the socket
            "autogenerate_session_id": False,  # requests of several threads must not share a session
            "send_receive_timeout": timeout_seconds,
            "connect_timeout": 10,
            "query_retries": 0,  # the engine retries, and counts
        }
        self._client: Any = None

    def ping(self) -> None:
        """Raise StoreError unless the server answers a query."""
        self.rows("SELECT 1")

    def command(self, sql: str, *, database: str | None = None) -> None:
        """Run one statement that gives no rows."""
        with _translated(self._where):
            self._connected().command(sql, settings={"database": database} if database else None, use_database=False)

    def insert(self, table: str, rows: Any) -> None:
        """Insert a `pyarrow.Table`; columns that it lacks get their defaults. Returns when the rows are stored."""
        with _translated(self._where):
            self._connected().insert_arrow(table, rows, database=self.database, settings=_WRITE_SETTINGS)

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a query, whose outside values come as `{name:Type}` parameters."""
        with _translated(self._where):
            result = self._connected().query(
                sql, parameters=dict(parameters or {}), settings={"database": self.database}
            )
            return list(result.named_results())

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query as tuples."""
        with _translated(self._where):
            result = self._connected().query(
                sql, parameters=dict(parameters or {}), settings={"database": self.database}
            )
            rows: Sequence[Sequence[Any]] = result.result_rows
            return rows

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Any:
        if self._client is None:
            self._client = clickhouse_connect.get_client(**self._options)
        return self._client


class _translated:  # noqa: N801 - read as a word: `with _translated(...)`
    """Turns the driver's exceptions into ours."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, ClickHouseError):
            match = _CODE.search(str(error))
            code = int(match[1]) if match else None
            text = str(error)[:1000]
            if isinstance(error, DatabaseError) and code is not None and code not in _WAITED_OUT:
                mend = "Mend the statement or the row"
                raise StoreRefused(f"ClickHouse refuses: {text}", self._where, mend) from error
            raise StoreError(f"ClickHouse can't do it now: {text}", self._where, "It is tried again") from error
        if isinstance(error, OSError):
            raise StoreError(f"ClickHouse is away: {type(error).__name__}", self._where, "It is tried again") from error

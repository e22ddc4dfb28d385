"""Access ClickHouse over HTTP. Every read and write of the store goes through here.

In:  Arrow tables to insert; SQL with bound parameters to read.
Promises: an insert that returned is stored. One that raised may or may not be stored, so callers must be able to repeat
it. `StoreError`: the same call may succeed later. `StoreRefused`: it never will.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.datatypes.temporal import DateTime64
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, ProgrammingError
from clickhouse_connect.driver.query import QueryResult

from projections.store.cluster import MATCHING, READING, WRITING, Cluster
from projections.store.parameters import with_lists_split
from schemas.errors import ConfigError, StoreDenied, StoreError, StoreRefused
from schemas.settings import StoreSettings

__all__ = ["DATABASE", "Store"]

DATABASE: Final = "sendledger"

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive and UTC, as the driver's times
_EARLIEST_US: Final = -62_135_596_800_000_000  # the year 1
_LATEST_US: Final = 253_402_300_799_999_999  # the end of the year 9999

_MAX_EXECUTION: Final = "max_execution_time"
_OF_DATABASES: Final = ("CREATE DATABASE", "DROP DATABASE")
"""Statements that are sent without a database, which may not exist yet."""
# Errors are classified by ClickHouse's code (src/Common/ErrorCodes.cpp, read 2026-11-28), which the driver reads from
# X-ClickHouse-Exception-Code. Listed here are the codes that a statement or one of its values can cause. All others,
# also those of later releases, are retried: an endless retry is visible (lag, retries) and loses nothing, but blaming a
# record for a problem of the server would park good records. No code means that something else answered (a proxy, for
# example), or nothing did.
_REFUSED: Final = frozenset(
    {
        # A value that can't be parsed, or does not fit.
        6,  # CANNOT_PARSE_TEXT
        7,  # INCORRECT_NUMBER_OF_COLUMNS
        9,  # SIZES_OF_COLUMNS_DOESNT_MATCH
        11,  # POSITION_OUT_OF_BOUND
        12,  # PARAMETER_OUT_OF_BOUND
        13,  # SIZES_OF_COLUMNS_IN_TUPLE_DOESNT_MATCH
        19,  # SIZE_OF_FIXED_STRING_DOESNT_MATCH
        20,  # NUMBER_OF_COLUMNS_DOESNT_MATCH
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        120,  # CANNOT_INSERT_VALUE_OF_DIFFERENT_SIZE_INTO_TUPLE
        128,  # TOO_LARGE_ARRAY_SIZE
        130,  # CANNOT_READ_ARRAY_FROM_TEXT
        131,  # TOO_LARGE_STRING_SIZE
        135,  # ZERO_ARRAY_OR_TUPLE_INDEX
        153,  # ILLEGAL_DIVISION
        169,  # BAD_TYPE_OF_FIELD
        170,  # BAD_GET
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        248,  # INVALID_PARTITION_VALUE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        346,  # CANNOT_CONVERT_CHARSET
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        366,  # SIZES_OF_NESTED_COLUMNS_ARE_INCONSISTENT
        376,  # CANNOT_PARSE_UUID
        395,  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
        407,  # DECIMAL_OVERFLOW
        427,  # CANNOT_COMPILE_REGEXP
        441,  # CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
        457,  # BAD_QUERY_PARAMETER
        467,  # CANNOT_PARSE_BOOL
        469,  # VIOLATED_CONSTRAINT
        490,  # CANNOT_FORMAT_DATETIME
        563,  # CANNOT_READ_MAP_FROM_TEXT
        621,  # CANNOT_NORMALIZE_STRING
        632,  # UNEXPECTED_DATA_AFTER_PARSED_VALUE
        675,  # CANNOT_PARSE_IPV4
        676,  # CANNOT_PARSE_IPV6
        691,  # UNKNOWN_ELEMENT_OF_ENUM
        728,  # UNEXPECTED_DATA_TYPE
        760,  # UNICODE_ERROR
        # A statement that no server accepts.
        1,  # UNSUPPORTED_METHOD
        34,  # TOO_MANY_ARGUMENTS_FOR_FUNCTION
        35,  # TOO_FEW_ARGUMENTS_FOR_FUNCTION
        36,  # BAD_ARGUMENTS
        42,  # NUMBER_OF_ARGUMENTS_DOESNT_MATCH
        43,  # ILLEGAL_TYPE_OF_ARGUMENT
        44,  # ILLEGAL_COLUMN
        48,  # NOT_IMPLEMENTED
        50,  # UNKNOWN_TYPE
        57,  # TABLE_ALREADY_EXISTS
        59,  # ILLEGAL_TYPE_OF_COLUMN_FOR_FILTER
        62,  # SYNTAX_ERROR
        63,  # UNKNOWN_AGGREGATE_FUNCTION
        73,  # UNKNOWN_FORMAT
        125,  # INCORRECT_RESULT_OF_SCALAR_SUBQUERY
        162,  # TOO_DEEP_SUBQUERIES
        167,  # TOO_DEEP_AST
        168,  # TOO_BIG_AST
        179,  # MULTIPLE_EXPRESSIONS_FOR_ALIAS
        181,  # ILLEGAL_FINAL
        184,  # ILLEGAL_AGGREGATION
        211,  # EMPTY_QUERY
        215,  # NOT_AN_AGGREGATE
        229,  # QUERY_IS_TOO_LARGE
        258,  # UNION_ALL_RESULT_STRUCTURES_MISMATCH
        352,  # AMBIGUOUS_COLUMN_NAME
        377,  # ILLEGAL_SYNTAX_FOR_DATA_TYPE
        386,  # NO_COMMON_TYPE
        403,  # INVALID_JOIN_ON_EXPRESSION
        440,  # INVALID_LIMIT_EXPRESSION
        456,  # UNKNOWN_QUERY_PARAMETER
        524,  # ALTER_OF_COLUMN_IS_FORBIDDEN
    }
)
_SETTING: Final = "SENDLEDGER_CLICKHOUSE_URL"
_DENIED: Final = frozenset(
    {
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        195,  # IP_ADDRESS_NOT_ALLOWED
        516,  # AUTHENTICATION_FAILED
    }
)
_NEEDS_OPERATOR: Final = frozenset(
    {
        8,  # THERE_IS_NO_COLUMN
        16,  # NO_SUCH_COLUMN_IN_TABLE
        46,  # UNKNOWN_FUNCTION: the server is too old
        47,  # UNKNOWN_IDENTIFIER: a view is not migrated yet
        60,  # UNKNOWN_TABLE
        81,  # UNKNOWN_DATABASE
        115,  # UNKNOWN_SETTING
        158,  # TOO_MANY_ROWS: a limit of the user's profile, like TOO_MANY_BYTES and TOO_MANY_ROWS_OR_BYTES
        201,  # QUOTA_EXCEEDED
        291,  # DATABASE_ACCESS_DENIED
        307,  # TOO_MANY_BYTES
        396,  # TOO_MANY_ROWS_OR_BYTES
        452,  # SETTING_CONSTRAINT_VIOLATION
        472,  # READONLY_SETTING
        497,  # ACCESS_DENIED
        511,  # UNKNOWN_ROLE
        512,  # SET_NON_GRANTED_ROLE
        720,  # USER_EXPIRED
    }
)
"""Retried, like everything outside `_REFUSED`; but only an operator can remove the cause."""
_NOT_ENOUGH_SPACE: Final = 243
_WRITE_SETTINGS: Final = {
    "max_threads": 1,  # a batch is one block; preparing more threads would cost 5 % of the write
    "async_insert": 0,  # an insert returns when its rows are stored, not when they are queued
    "optimize_on_insert": 0,  # the writer has merged the rows of a message already; merges and FINAL do the rest
    "materialize_skip_indexes_on_insert": 0,  # merges create them; parts without them are small
    "max_partitions_per_insert_block": 0,  # late events belong to many months
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}


_UNREACHABLE: Final = f"Check that it runs and answers at {_SETTING}. Workers wait for it; repeat a command"


class Store:
    """A connection pool to one database. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        database: str = DATABASE,
        generation: int | None = None,
        cluster: str = "",
        reads_own_writes: bool = False,
        timeout_seconds: int = 60,
        max_execution_seconds: int = 0,
    ) -> None:
        """Take a URL `http[s]://[user[:password]@]host[:port]`. Raises ConfigError for any other form.

        Queries and inserts use the database of a generation of `database`; without a generation, `database` itself.
        `cluster` is the name of the servers' cluster; empty for one server. `reads_own_writes`: a query finds what this
        program, or another one with the same argument, has inserted before. `timeout_seconds` is for the socket. The
        server ends a query after `max_execution_seconds`; 0 leaves the server's own limit.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:  # the error's text would show part of a password that contains a slash
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.path not in ("", "/"):
            raise ConfigError(
                "The address of ClickHouse is not valid",
                "SENDLEDGER_CLICKHOUSE_URL",
                "Give it as http://user:password@host:8123, with %2F for a slash in the password",
            )
        self.database = database
        self.generation = generation
        self._where = f"{parts.scheme}://{parts.hostname}:{port or ''}"
        self._options: dict[str, Any] = {
            "host": parts.hostname,
            "port": port or (8443 if parts.scheme == "https" else 8123),
            "secure": parts.scheme == "https",
            "username": unquote(parts.username or "default"),
            "password": unquote(parts.password or ""),
            "compress": "lz4",  # faster than no compression, even on one machine: fewer bytes through the socket
            "autogenerate_session_id": False,  # requests of several threads must not share a session
            "send_receive_timeout": timeout_seconds,
            "connect_timeout": min(10, timeout_seconds),
            "query_retries": 0,  # the engine retries, and counts
        }
        self.cluster = Cluster(cluster) if cluster else None
        self._wanted: dict[str, str | int] = {_MAX_EXECUTION: max_execution_seconds} if max_execution_seconds else {}
        self._write_settings: dict[str, str | int] = dict(_WRITE_SETTINGS)
        if cluster:
            self._wanted |= READING
            self._write_settings |= WRITING
        if cluster and reads_own_writes:
            self._wanted |= MATCHING
        self._client: Any = None

    @classmethod
    def of(cls, settings: StoreSettings, **options: Any) -> Self:
        """Return the store of the settings. `options` are the other arguments. Raises ConfigError."""
        url = settings.clickhouse_url.get_secret_value()
        return cls(url, database=settings.clickhouse_database, cluster=settings.clickhouse_cluster, **options)

    @property
    def tables(self) -> str:
        """The database of queries and inserts."""
        return self.database if self.generation is None else self.tables_of(self.generation)

    def tables_of(self, generation: int) -> str:
        """Return the database of a generation."""
        return f"{self.database}_g{generation}"

    @property
    def stored_tables(self) -> str:
        """The database of the tables that have the rows themselves: on a cluster, those of one shard."""
        return self.tables if self.cluster is None else self.cluster.local(self.tables)

    def system(self, table: str) -> str:
        """Return the source of a system table's rows: on a cluster, those of all servers."""
        return f"system.{table}" if self.cluster is None else self.cluster.everywhere(f"system.{table}")

    def ping(self) -> None:
        """Raise StoreError unless the server answers a query."""
        self.rows("SELECT 1")

    def command(self, sql: str, parameters: Mapping[str, object] | None = None, *, database: str | None = None) -> None:
        """Run one statement that returns no rows. Pass values from outside as `{name:Type}` parameters."""
        settings = {"database": database} if database else None
        with _translated_errors(self._where):
            self._connected().command(sql, parameters=parameters, settings=settings, use_database=False)

    def define(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run a statement that creates, changes or drops something, on all servers of the cluster.

        Names without a database are those of the store's generation. On a cluster it has to be one of the kinds that
        `Cluster.statements` knows, else it raises ConfigError.
        """
        database = None if sql.startswith(_OF_DATABASES) else self.tables
        for statement in [sql] if self.cluster is None else self.cluster.statements(sql, self.tables):
            self.command(statement, parameters, database=database)

    def delete(self, table: str, where: str, parameters: Mapping[str, object]) -> None:
        """Delete the rows that meet a condition, from all servers. It rewrites parts: for few rows, and rarely."""
        self.define(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2", parameters)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert a `pyarrow.Table`; missing columns get their defaults. Returns when the rows are stored."""
        with _translated_errors(self._where):
            self._connected().insert_arrow(table, rows, database=self.tables, settings=self._write_settings)

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a query as dictionaries. Pass values from outside as `{name:Type}` parameters.

        Reading a column that a row lacks raises StoreError, with the mend.
        """
        return [_Row(row) for row in self._result(sql, parameters).named_results()]

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query as tuples."""
        rows: Sequence[Sequence[Any]] = self._result(sql, parameters).result_rows
        return rows

    def columns(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return the columns of a query's result, each with one value per row."""
        result = self._result(sql, parameters)
        columns: Sequence[Sequence[Any]] = result.result_columns
        return columns or [()] * len(result.column_names)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _result(self, sql: str, parameters: Mapping[str, object] | None) -> Any:
        sql, bound = with_lists_split(sql, parameters or {})
        run = partial(self._query, sql, bound)
        try:
            return run()
        except ValueError:  # a time after the year 9999, which `datetime` can't represent
            return _with_times(run({"DateTime64*": "int"}))

    def _query(self, sql: str, bound: dict[str, Any], formats: Mapping[str, str] | None = None) -> Any:
        database = self.tables
        with _translated_errors(self._where):
            return self._connected().query(
                sql, parameters=bound, settings={"database": database}, query_formats=formats
            )

    def _query_database(self, database: str, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a query in another database."""
        with _translated_errors(self._where):
            rows: Sequence[Sequence[Any]] = self._connected().query(sql, settings={"database": database}).result_rows
            return rows

    def _connected(self) -> Any:
        if self._client is None:
            client = clickhouse_connect.get_client(**self._options)
            for name, value in self._wanted.items():
                setting = client.server_settings.get(name)
                # A user without the right to change settings keeps those of its profile: see docs/how-to.
                if setting is not None and not setting.readonly:
                    client.set_client_setting(name, value)
            self._client = client
        return self._client


class _Row(dict[str, Any]):
    """A row by column name. A missing column means that a migration was not applied, not a bug in the reader."""

    def __missing__(self, column: str) -> Any:
        raise StoreError(
            f"ClickHouse returns no column {column!r}",
            "a row with the columns " + ", ".join(self),
            "Run `sendledger migrate`",
        )


def _with_times(result: Any) -> Any:
    """Return a result with its numeric times converted to the nearest `datetime`."""
    scales = [kind.scale if isinstance(kind, DateTime64) else None for kind in result.column_types]
    columns = [
        values if scale is None else [None if value is None else _nearest(value, 10**scale) for value in values]
        for values, scale in zip(result.result_columns, scales, strict=True)
    ]
    return QueryResult([*zip(*columns, strict=True)], column_names=result.column_names)


def _nearest(value: int, per_second: int) -> datetime:
    """Return a naive UTC time, as the driver does."""
    us = value * 1_000_000 // per_second
    return _EPOCH + timedelta(microseconds=min(max(us, _EARLIEST_US), _LATEST_US))


class _translated_errors:  # noqa: N801 - read as a word: `with _translated_errors(...)`
    """Convert the driver's exceptions into ours."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, ClickHouseError):
            raise self._translate(error) from error
        if isinstance(error, OSError):
            raise StoreError(
                f"ClickHouse can't be reached: {type(error).__name__}", self._where, _UNREACHABLE
            ) from error

    def _translate(self, error: ClickHouseError) -> StoreError | StoreRefused:
        code, text = getattr(error, "code", None), str(error)[:1000]
        if code in _REFUSED or (code is None and isinstance(error, DataError | ProgrammingError)):
            # (the driver itself raises the last two, for invalid arguments)
            return StoreRefused(f"ClickHouse refuses: {text}", self._where, "Correct the statement or the row")
        if code in _DENIED:
            mend = f"Compare {_SETTING} with the server's users"
            return StoreDenied(f"ClickHouse refuses the user or the password (code {code})", self._where, mend)
        if code in _NEEDS_OPERATOR:
            mend = "Run `sendledger migrate`, or correct the user's grants, settings and limits"
            return StoreError(f"ClickHouse is not set up for this: {text}", self._where, mend)
        if code == _NOT_ENOUGH_SPACE:
            mend = "Free space, or enlarge the disk: docs/how-to/when-clickhouse-is-down.md"
            return StoreError(f"ClickHouse's disk is full: {text}", self._where, mend)
        if code is None and (reason := _unreachable(error)):
            return StoreError(f"ClickHouse can't be reached: {reason}", self._where, _UNREACHABLE)
        return StoreError(f"ClickHouse failed: {text}", self._where, "Look at its log, and run `sendledger doctor`")


def _unreachable(error: BaseException) -> str:
    """Return why the server could not be reached, in the system's words; empty if it was reached."""
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, TimeoutError):
            return "it does not answer in time"
        if isinstance(cause, OSError) and cause.errno:
            return str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return ""

"""The chDB engine of this process: connections, settings, sessions, and running one request.

Every request has its own connection (0.1 ms), so that settings, `USE`, `readonly` and temporary tables end with it. A
session keeps its connection until its timeout. All functions here block, and run in worker threads.
"""

import contextlib
import fcntl
import itertools
import json
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import chdb

from deploy.local.clickhouse.codecs import encode
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.request import QueryRequest
from deploy.local.clickhouse.statements import Insert, Statement, find_insert
from deploy.local.clickhouse.users import Credentials, User, Users
from schemas.errors import ConfigError

__all__ = ["Engine", "QueryResult"]

# Formats whose blocks can be concatenated, so a result can be streamed.
_STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
# The engine's default is on: it batches the rows of several inserts, but our writers send batches already.
_DEFAULTS = {"async_insert": "0"}
# A folder below the data: BACKUP writes to no other. The engine takes its configuration with the path.
_CONFIGURATION = "?backups.allowed_path=backups"
_SETTING_NAME = re.compile(r"\w+")
_SESSION_SECONDS = 60.0
_MOST_SESSION_SECONDS = 3600.0

Connection = Any  # chdb.state.sqlitelike.Connection, which has no types


@dataclass(frozen=True)
class QueryResult:
    """The result of a request: its headers, and its body in chunks.

    `chunks` must be exhausted or closed: it holds the connection.
    """

    headers: Mapping[str, str]
    chunks: Generator[bytes, None, None]


@dataclass
class Session:
    """A connection that several requests of one user share, one at a time.

    Settings in a request's URL apply to that request; the session's SET and USE apply until its end. Clients send the
    same settings with each request, so they stay set and only differences are applied.
    """

    connection: Connection
    own_settings: dict[str, str]
    own_database: str = "default"
    applied: dict[str, str] = field(default_factory=dict)  # the settings of the last request's URL
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, database: str | None, settings: Mapping[str, str]) -> None:
        """Apply the database and settings of one request, replacing those of the previous one."""
        for name in self.applied.keys() - settings.keys():
            if name in self.own_settings:
                _set(self.connection, {name: self.own_settings[name]})
            else:
                self.connection.query(f"SET {name} = DEFAULT")
            del self.applied[name]
        new = {name: value for name, value in settings.items() if self.applied.get(name) != value}
        _set(self.connection, new)
        self.applied |= new
        _use(self.connection, database or self.own_database)

    def remember(self, statement: Statement) -> None:
        """Remember what a SET or USE in the session has changed."""
        if statement.sets:
            sql = "SELECT name, value FROM system.settings WHERE changed"
            self.own_settings = dict(_rows(self.connection, sql))
        if statement.uses_database:
            self.own_database = _rows(self.connection, "SELECT currentDatabase()")[0][0]


class Engine:
    """One chDB engine on one path, locked against other processes."""

    def __init__(self, path: Path, users: Users) -> None:
        self._lock = _lock_path(path)
        self._path = str(path)
        self._target = self._path + _CONFIGURATION
        self._users = users
        try:
            self._root: Connection = chdb.connect(self._target)  # keeps the engine open between requests
        except RuntimeError as error:
            raise ConfigError(
                what=f"chDB can't open its data: {error}",
                where=self._path,
                mend="stop the process that uses it, or give another path",
            ) from error
        self._sessions: dict[tuple[str, str], Session] = {}
        self._sessions_lock = threading.Lock()
        self._timezone = self._root.query("SELECT timezone()", "TSVRaw").bytes().decode().strip()

    def close(self) -> None:
        for session in self._sessions.values():
            session.connection.close()
        self._sessions.clear()
        self._root.close()
        self._lock.close()

    def authenticate(self, credentials: Credentials) -> User:
        """Return the user. Raises ClickHouseError for unknown credentials."""
        return self._users.authenticate(credentials)

    def run(self, request: QueryRequest, user: User) -> QueryResult:
        """Run a request of a user. Raises ClickHouseError, or an exception of chDB, before there is a result."""
        _refuse_pinned(user, request.settings)
        stack = contextlib.ExitStack()
        try:
            insert = find_insert(request.query, request.body)
            if insert:
                _refuse_write_in_get(request)
                connection = stack.enter_context(self._connection(request, user, None))
                return self._answer(request, stack, "Null", iter(()), written=self._insert(connection, insert))
            statement = Statement.of(request.query, request.body)
            user.check_statement(statement.masked)
            if not statement.is_harmless:
                _refuse_write_in_get(request)
            if statement.is_backup:
                _refuse_backup_by_reader(request, user)
            connection = stack.enter_context(self._connection(request, user, statement))
            answer = self._query(request, stack, connection, statement)
        except BaseException:
            stack.close()
            raise
        return answer

    def _insert(self, connection: Connection, insert: Insert) -> tuple[int, int]:
        """Insert all data or nothing; return rows and bytes.

        By a file without a name: chDB's `send_insert` returns without an error if the table refuses the rows (too many
        parts, a full disk, a constraint, a materialized view that fails), and they are lost.
        """
        with tempfile.TemporaryFile(dir=self._path) as file:
            file.write(insert.data)
            file.seek(0)
            done = connection.query(insert.from_file(f"/dev/fd/{file.fileno()}"), "Null")
        return done.rows_written(), done.bytes_written()

    def _query(
        self, request: QueryRequest, stack: contextlib.ExitStack, connection: Connection, statement: Statement
    ) -> QueryResult:
        format_ = statement.format or request.default_format
        parameters = request.parameters
        if statement.reads and format_ in _STREAMED and request.streams:
            stream = stack.enter_context(connection.send_query(statement.sql, format_, params=parameters))
            first = stream.fetch()
            if first is not None:
                chunks = (chunk.bytes() for chunk in itertools.chain([first], stream))
                return self._answer(request, stack, format_, chunks)
            stream.cancel()
            body, read = b"", (0, 0)
        else:
            result = connection.query(statement.sql, format_, params=parameters)
            body, read = result.bytes(), (result.rows_read(), result.bytes_read())
        if not body and statement.reads and format_ == "Native":
            body = _empty_native(connection, statement, parameters)
        return self._answer(request, stack, format_, iter((body,)), read=read)

    def _answer(
        self,
        request: QueryRequest,
        stack: contextlib.ExitStack,
        format_: str,
        chunks: Iterator[bytes],
        *,
        read: tuple[int, int] = (0, 0),
        written: tuple[int, int] = (0, 0),
    ) -> QueryResult:
        counts = dict(zip(("read_rows", "read_bytes", "written_rows", "written_bytes"), (*read, *written), strict=True))
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Format": format_,
            "X-ClickHouse-Query-Id": request.arguments.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": "sendledger-local",
            "X-ClickHouse-Summary": json.dumps({name: str(count) for name, count in counts.items()}),
            "X-ClickHouse-Timezone": self._timezone,
        }
        encoding = "" if format_ == "Null" else request.encoding
        if encoding:
            headers["Content-Encoding"] = encoding
        return QueryResult(headers, _with_resources(stack, encode(encoding, chunks)))

    @contextlib.contextmanager
    def _connection(self, request: QueryRequest, user: User, statement: Statement | None) -> Iterator[Connection]:
        """A connection with user, database and settings applied: a new one, or the session's."""
        session_id = request.arguments.get("session_id")
        if session_id:
            with self._session(request, user, session_id) as session:
                own = statement is not None and statement.sets  # settings of the URL must not become the session's
                session.apply(request.database, {} if own else request.settings)
                yield session.connection
                if statement:
                    session.remember(statement)
            return
        connection = self._open(user, readonly=user.readonly or 2 * (request.method == "GET"))
        try:
            if request.database:
                _use(connection, request.database)
            _set(connection, request.settings)
            yield connection
        finally:
            connection.close()

    def _open(self, user: User, readonly: int) -> Connection:
        connection = chdb.connect(self._target)
        _set(connection, {**_DEFAULTS, **user.settings, "readonly": str(readonly)})
        return connection

    @contextlib.contextmanager
    def _session(self, request: QueryRequest, user: User, session_id: str) -> Iterator[Session]:
        timeout = float(request.arguments.get("session_timeout") or _SESSION_SECONDS)
        with self._sessions_lock:
            self._close_expired()
            session = self._sessions.get((user.name, session_id))
            if session is None:
                if request.arguments.get("session_check") == "1":
                    raise ClickHouseError(372, "SESSION_NOT_FOUND", f"Session {session_id} not found")
                session = Session(self._open(user, user.readonly), {**_DEFAULTS, **user.settings})
                self._sessions[user.name, session_id] = session
            if not session.lock.acquire(blocking=False):
                raise ClickHouseError(
                    373, "SESSION_IS_LOCKED", f"Session {session_id} is locked by a concurrent client"
                )
        try:
            yield session
        finally:
            session.expires = time.monotonic() + min(timeout, _MOST_SESSION_SECONDS)
            session.lock.release()

    def _close_expired(self) -> None:
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if session.expires < now and not session.lock.locked():
                self._sessions.pop(key).connection.close()


def _lock_path(path: Path) -> IO[bytes]:
    """Take our own lock, because chDB's error says less."""
    path.mkdir(parents=True, exist_ok=True)
    file = (path / "endpoint.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            what="another process uses this ClickHouse data directory",
            where=str(path),
            mend="stop that process, or give another path",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _refuse_write_in_get(request: QueryRequest) -> None:
    """Refuse a write by GET in a session: only a connection of its own can be made read-only for a request."""
    if request.method == "GET" and request.arguments.get("session_id"):
        raise ClickHouseError(164, "READONLY", "Cannot execute query in readonly mode: a GET in a session only reads")


def _refuse_backup_by_reader(request: QueryRequest, user: User) -> None:
    """Refuse BACKUP and RESTORE where a write is refused: for the engine itself they are none."""
    if user.readonly or request.method == "GET":
        raise ClickHouseError(164, "READONLY", "Cannot execute query in readonly mode: BACKUP and RESTORE write")


def _refuse_pinned(user: User, settings: Mapping[str, str]) -> None:
    for name in settings:
        if name in user.settings:
            raise ClickHouseError(
                452, "SETTING_CONSTRAINT_VIOLATION", f"Setting {name} should not be changed by {user.name}"
            )


def _empty_native(connection: Connection, statement: Statement, parameters: Mapping[str, str]) -> bytes:
    """A Native block without rows that names the columns: chDB writes nothing for an empty result."""
    columns = _rows(connection, f"DESCRIBE ({statement.without_format}\n)", parameters)
    texts = (text.encode() for column in columns for text in column[:2])
    return _varint(len(columns)) + _varint(0) + b"".join(_varint(len(text)) + text for text in texts)


def _varint(number: int) -> bytes:
    """LEB128, as ClickHouse writes lengths."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _use(connection: Connection, database: str) -> None:
    escaped = database.replace("\\", "\\\\").replace("`", "\\`")
    connection.query(f"USE `{escaped}`")


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    """Apply all settings in one statement: each takes 0.14 ms."""
    if not settings:
        return
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise ClickHouseError(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
    connection.query("SET " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _rows(connection: Connection, sql: str, parameters: Mapping[str, str] | None = None) -> list[list[str]]:
    """Return a result as strings."""
    result = connection.query(sql, "JSONCompactEachRow", params=dict(parameters or {}))
    return [json.loads(line) for line in result.bytes().splitlines()]


def _with_resources(stack: contextlib.ExitStack, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Yield the chunks; release the connection when they end or are closed."""
    with stack:
        yield from chunks

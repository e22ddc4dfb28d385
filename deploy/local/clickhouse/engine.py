"""The chDB engine of this process: connections, settings, sessions, and the running of one request.

Every request has its own connection (0.1 ms), so that settings, `USE`, `readonly` and temporary tables die with it.
A session keeps its connection until its timeout. Everything here blocks, and runs in worker threads.
"""

import contextlib
import fcntl
import itertools
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import chdb

from deploy.local.clickhouse.codecs import encode
from deploy.local.clickhouse.exchange import Exchange
from deploy.local.clickhouse.failures import Failure
from deploy.local.clickhouse.statements import Insert, Statement, find_insert
from deploy.local.clickhouse.users import Credentials, User, Users
from schemas.errors import ConfigError

__all__ = ["Answer", "Engine"]

# Their blocks simply follow each other, so a result can be sent as it comes.
_STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
# The engine's own default is on: it gathers rows of several inserts, which a writer of batches has done already.
_DEFAULTS = {"async_insert": "0"}
_APPEND_BYTES = 1 << 20
_SETTING_NAME = re.compile(r"\w+")
_SESSION_SECONDS = 60.0
_MOST_SESSION_SECONDS = 3600.0

Connection = Any  # chdb.state.sqlitelike.Connection, which has no types


@dataclass(frozen=True)
class Answer:
    """A request that succeeds: its headers, and its body as it comes.

    `chunks` must be read to its end or closed: it holds the connection.
    """

    headers: Mapping[str, str]
    chunks: Generator[bytes, None, None]


@dataclass
class Session:
    """A connection that several requests of one user share, one at a time.

    What a request's URL says holds for that request; what the session's own SET and USE said holds until its end.
    Clients send the same settings with each request, so they stay in force and only differences are applied.
    """

    connection: Connection
    own_settings: dict[str, str]
    own_database: str = "default"
    applied: dict[str, str] = field(default_factory=dict)  # the settings of the last request's URL
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, database: str | None, settings: Mapping[str, str]) -> None:
        """Put one request's database and settings in force, in place of the last one's."""
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
        """Keep what a SET or USE of the session has changed."""
        if statement.sets:
            sql = "SELECT name, value FROM system.settings WHERE changed"
            self.own_settings = dict(_rows(self.connection, sql))
        if statement.uses_database:
            self.own_database = _rows(self.connection, "SELECT currentDatabase()")[0][0]


class Engine:
    """One chDB engine on one path, which no other process may hold."""

    def __init__(self, path: Path, users: Users) -> None:
        self._lock = _lock_path(path)
        self._path = str(path)
        self._users = users
        try:
            self._root: Connection = chdb.connect(self._path)  # holds the engine open between requests
        except RuntimeError as error:
            raise ConfigError(
                what=f"chDB cannot open its data: {error}",
                where=self._path,
                mend="end the process that uses them, or name another path",
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
        """Return who asks. Raises Failure for nobody that we know."""
        return self._users.authenticate(credentials)

    def run(self, exchange: Exchange, user: User) -> Answer:
        """Run a request of a user. Raises Failure, or whatever chDB raises, before there is an answer."""
        _refuse_pinned(user, exchange.settings)
        stack = contextlib.ExitStack()
        try:
            insert = find_insert(exchange.query, exchange.body)
            if insert:
                _refuse_in_get(exchange)
                connection = stack.enter_context(self._connection(exchange, user, None))
                return self._answer(exchange, stack, "Null", iter(()), written=_insert(connection, insert))
            statement = Statement.of(exchange.query, exchange.body)
            user.check_statement(statement.masked)
            if not statement.is_harmless:
                _refuse_in_get(exchange)
            connection = stack.enter_context(self._connection(exchange, user, statement))
            answer = self._query(exchange, stack, connection, statement)
        except BaseException:
            stack.close()
            raise
        return answer

    def _query(
        self, exchange: Exchange, stack: contextlib.ExitStack, connection: Connection, statement: Statement
    ) -> Answer:
        format_ = statement.format or exchange.default_format
        parameters = exchange.parameters
        if statement.reads and format_ in _STREAMED and exchange.streams:
            stream = stack.enter_context(connection.send_query(statement.sql, format_, params=parameters))
            first = stream.fetch()
            if first is not None:
                chunks = (chunk.bytes() for chunk in itertools.chain([first], stream))
                return self._answer(exchange, stack, format_, chunks)
            stream.cancel()
            body, read = b"", (0, 0)
        else:
            result = connection.query(statement.sql, format_, params=parameters)
            body, read = result.bytes(), (result.rows_read(), result.bytes_read())
        if not body and statement.reads and format_ == "Native":
            body = _empty_native(connection, statement, parameters)
        return self._answer(exchange, stack, format_, iter((body,)), read=read)

    def _answer(
        self,
        exchange: Exchange,
        stack: contextlib.ExitStack,
        format_: str,
        chunks: Iterator[bytes],
        *,
        read: tuple[int, int] = (0, 0),
        written: tuple[int, int] = (0, 0),
    ) -> Answer:
        counts = dict(zip(("read_rows", "read_bytes", "written_rows", "written_bytes"), (*read, *written), strict=True))
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Format": format_,
            "X-ClickHouse-Query-Id": exchange.arguments.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": "sendledger-local",
            "X-ClickHouse-Summary": json.dumps({name: str(count) for name, count in counts.items()}),
            "X-ClickHouse-Timezone": self._timezone,
        }
        encoding = "" if format_ == "Null" else exchange.encoding
        if encoding:
            headers["Content-Encoding"] = encoding
        return Answer(headers, _holding(stack, encode(encoding, chunks)))

    @contextlib.contextmanager
    def _connection(self, exchange: Exchange, user: User, statement: Statement | None) -> Iterator[Connection]:
        """A connection with user, database and settings in force: fresh, or the session's."""
        session_id = exchange.arguments.get("session_id")
        if session_id:
            with self._session(exchange, user, session_id) as session:
                own = statement is not None and statement.sets  # the URL's settings must not pass for the session's
                session.apply(exchange.database, {} if own else exchange.settings)
                yield session.connection
                if statement:
                    session.remember(statement)
            return
        connection = self._open(user, readonly=user.readonly or 2 * (exchange.method == "GET"))
        try:
            if exchange.database:
                _use(connection, exchange.database)
            _set(connection, exchange.settings)
            yield connection
        finally:
            connection.close()

    def _open(self, user: User, readonly: int) -> Connection:
        connection = chdb.connect(self._path)
        _set(connection, {**_DEFAULTS, **user.settings, "readonly": str(readonly)})
        return connection

    @contextlib.contextmanager
    def _session(self, exchange: Exchange, user: User, session_id: str) -> Iterator[Session]:
        asked = float(exchange.arguments.get("session_timeout") or _SESSION_SECONDS)
        with self._sessions_lock:
            self._close_expired()
            session = self._sessions.get((user.name, session_id))
            if session is None:
                if exchange.arguments.get("session_check") == "1":
                    raise Failure(372, "SESSION_NOT_FOUND", f"Session {session_id} not found")
                session = Session(self._open(user, user.readonly), {**_DEFAULTS, **user.settings})
                self._sessions[user.name, session_id] = session
            if not session.lock.acquire(blocking=False):
                raise Failure(373, "SESSION_IS_LOCKED", f"Session {session_id} is locked by a concurrent client")
        try:
            yield session
        finally:
            session.expires = time.monotonic() + min(asked, _MOST_SESSION_SECONDS)
            session.lock.release()

    def _close_expired(self) -> None:
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if session.expires < now and not session.lock.locked():
                self._sessions.pop(key).connection.close()


def _lock_path(path: Path) -> IO[bytes]:
    """Our own lock, because chDB's says less about what is wrong."""
    path.mkdir(parents=True, exist_ok=True)
    file = (path / "endpoint.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            what="another process holds these ClickHouse data",
            where=str(path),
            mend="end that process, or name another path",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _refuse_in_get(exchange: Exchange) -> None:
    """A GET reads. A connection of its own is read-only for it; a session's can't be made so for a single request."""
    if exchange.method == "GET" and exchange.arguments.get("session_id"):
        raise Failure(164, "READONLY", "Cannot execute query in readonly mode: a GET in a session only reads")


def _refuse_pinned(user: User, settings: Mapping[str, str]) -> None:
    for name in settings:
        if name in user.settings:
            raise Failure(452, "SETTING_CONSTRAINT_VIOLATION", f"Setting {name} should not be changed by {user.name}")


def _insert(connection: Connection, insert: Insert) -> tuple[int, int]:
    """Write all data or nothing of them; return rows and bytes."""
    with connection.send_insert(insert.sql, insert.format) as inserter:
        for at in range(0, len(insert.data), _APPEND_BYTES):
            inserter.append(insert.data[at : at + _APPEND_BYTES])
        done = inserter.finish()
    return done.rows_written, done.bytes_written


def _empty_native(connection: Connection, statement: Statement, parameters: Mapping[str, str]) -> bytes:
    """A Native block of no rows that names the columns: chDB writes nothing at all for an empty result."""
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
    """All in one statement: each costs a seventh of a millisecond."""
    if not settings:
        return
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise Failure(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
    connection.query("SET " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _rows(connection: Connection, sql: str, parameters: Mapping[str, str] | None = None) -> list[list[str]]:
    """A result of strings."""
    result = connection.query(sql, "JSONCompactEachRow", params=dict(parameters or {}))
    return [json.loads(line) for line in result.bytes().splitlines()]


def _holding(stack: contextlib.ExitStack, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The chunks; the connection is let go when they end or are closed."""
    with stack:
        yield from chunks
